/** What an MQTT 5 server said in CONNACK that it takes, with the standard's defaults; in 3.x there are no limits but those of the protocol. */
import type { Properties } from '../wire/packets.ts'
import type { OutgoingPublish } from './outgoing.ts'

export class ServerLimits {
  readonly receiveMaximum: number
  readonly keepaliveSeconds: number | undefined
  private readonly maximumPacketBytes: number
  private readonly maximumQoS: number
  private readonly retainAvailable: boolean

  constructor(properties: Properties) {
    this.receiveMaximum = properties.receiveMaximum ?? 65_535
    this.keepaliveSeconds = properties.serverKeepAlive
    this.maximumPacketBytes = properties.maximumPacketSize ?? Number.POSITIVE_INFINITY
    this.maximumQoS = properties.maximumQoS ?? 2
    this.retainAvailable = properties.retainAvailable !== 0
  }

  /** The reason code by which the server would have to refuse a publish of this size, or 0. The client must not send it [MQTT-3.2.2-11, -14, -15]. */
  refusalOf(publish: OutgoingPublish, packetBytes: number): number {
    if (packetBytes > this.maximumPacketBytes) return 0x95
    if (publish.qos > this.maximumQoS) return 0x9b
    if (publish.retain && !this.retainAvailable) return 0x9a
    return 0
  }
}

export const unlimited = new ServerLimits({})

export function serverLimitsOf(properties: Properties | undefined): ServerLimits {
  return properties === undefined ? unlimited : new ServerLimits(properties)
}
