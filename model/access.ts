/**
 * Who may connect, and who may publish and subscribe to what: the rules that the control plane hands to every proxy. The proxy decides by itself, at CONNECT,
 * SUBSCRIBE and PUBLISH; a user's rules hold for the life of a connection.
 */

export interface User {
  readonly username: string
  readonly password: string
  /** Topic filters: the user may publish to topics that one of them matches, wills included. */
  readonly publish: readonly string[]
  /** Topic filters: the user may subscribe to filters that lie within one of them. */
  readonly subscribe: readonly string[]
}

export interface AccessRules {
  /** `open`: any user name and password, or none. `permissions`: only `users`, each within its filters. */
  readonly access: 'open' | 'permissions'
  /** `auto`: a topic is there when it is used. `console`: its first level has to be one of `topics`, created before. */
  readonly topicCreation: 'auto' | 'console'
  readonly topics: readonly string[]
  readonly users: readonly User[]
}

export const openAccess: AccessRules = { access: 'open', topicCreation: 'auto', topics: [], users: [] }
