/** Messages as topic shards store them, made of what a client sends: a PUBLISH, or the will in its CONNECT. Encoded here, once; never decoded whole on the way. */
import { Writer } from '../wire/codec.ts'
import { storedMessage } from '../wire/hot-bodies.ts'
import type { StoredWill } from '../wire/messages.ts'
import type { Publish, Will } from '../wire/packets.ts'
import { carrier, propertiesBytes, writeProperties } from '../wire/properties.ts'

const NO_BYTES = Buffer.alloc(0)

const writer = new Writer()

/** @param topic the packet's own, or the one that its alias stands for */
export function encodePublication(packet: Publish, topic: string, publisher: string, wallMs: number): Buffer {
  writer.begin()
  storedMessage.write(writer, {
    topic,
    publisher,
    qos: packet.qos,
    retain: packet.retain,
    publishedAtMs: Math.max(0, Math.floor(wallMs)),
    properties: packet.rawProperties ?? NO_BYTES,
    payload: packet.payload,
  })
  return writer.finish()
}

export function encodeWill(will: Will, publisher: string, wallMs: number): StoredWill {
  // The delay is the server's; all other properties of the will are those of the message (MQTT 5.0 section 3.1.3.2).
  const { willDelayInterval, ...travelling } = will.properties ?? {}
  const properties = Buffer.alloc(propertiesBytes(travelling, carrier.publish))
  writeProperties(properties, 0, travelling)
  writer.begin()
  storedMessage.write(writer, {
    topic: will.topic,
    publisher,
    qos: will.qos,
    retain: will.retain,
    publishedAtMs: Math.max(0, Math.floor(wallMs)),
    properties,
    payload: will.payload,
  })
  return { delaySeconds: willDelayInterval ?? 0, message: writer.finish() }
}
