/** The access rules of a live region from a JSON file that a person wrote; whatever is wrong with it is bad input, named by its place in the file. */
import { readFileSync } from 'node:fs'
import { type AccessRules, openAccess, type User } from '../model/access.ts'
import { BadInput } from './exit.ts'

type Fields = Readonly<Record<string, unknown>>

export function readAccess(file: string): AccessRules {
  let value: unknown
  try {
    value = JSON.parse(readFileSync(file, 'utf8'))
  } catch (error) {
    throw new BadInput(`${file}: ${(error as Error).message}`)
  }
  return accessOf(value, file)
}

function accessOf(value: unknown, file: string): AccessRules {
  const fields = fieldsOf(value, file, ['access', 'topicCreation', 'topics', 'users'])
  return {
    access: oneOf(fields.access, ['open', 'permissions'] as const, openAccess.access, `${file}: access`),
    topicCreation: oneOf(fields.topicCreation, ['auto', 'console'] as const, openAccess.topicCreation, `${file}: topicCreation`),
    topics: new Set(texts(fields.topics, `${file}: topics`)),
    users: usersOf(list(fields.users, `${file}: users`), `${file}: users`),
  }
}

function usersOf(values: readonly unknown[], place: string): ReadonlyMap<string, User> {
  const users = new Map<string, User>()
  for (const [i, value] of values.entries()) {
    const user = userOf(value, `${place}[${i}]`)
    if (users.has(user.username)) throw new BadInput(`${place}[${i}].username: there is another ${user.username}`)
    users.set(user.username, user)
  }
  return users
}

function userOf(value: unknown, place: string): User {
  const { username, password, publish, subscribe } = fieldsOf(value, place, ['username', 'password', 'publish', 'subscribe'])
  return {
    username: text(username, `${place}.username`),
    password: text(password, `${place}.password`),
    publish: texts(publish, `${place}.publish`),
    subscribe: texts(subscribe, `${place}.subscribe`),
  }
}

function fieldsOf(value: unknown, place: string, known: readonly string[]): Fields {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) throw new BadInput(`${place}: expected an object`)
  const unknown = Object.keys(value).find((key) => !known.includes(key))
  if (unknown !== undefined) throw new BadInput(`${place}: unknown field ${unknown}. known: ${known.join(', ')}`)
  return value as Fields
}

function oneOf<const Choice extends string>(value: unknown, choices: readonly Choice[], byDefault: Choice, place: string): Choice {
  if (value === undefined) return byDefault
  const choice = choices.find((candidate) => candidate === value)
  if (choice === undefined) throw new BadInput(`${place}: expected ${choices.join(' or ')}, got ${JSON.stringify(value)}`)
  return choice
}

function list(value: unknown, place: string): readonly unknown[] {
  if (value === undefined) return []
  if (!Array.isArray(value)) throw new BadInput(`${place}: expected a list`)
  return value
}

function text(value: unknown, place: string): string {
  if (typeof value !== 'string') throw new BadInput(`${place}: expected a text, got ${JSON.stringify(value)}`)
  return value
}

function texts(value: unknown, place: string): readonly string[] {
  return list(value, place).map((item, i) => text(item, `${place}[${i}]`))
}
