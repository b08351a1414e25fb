/**
 * The receiver's side of PUBLISH: QoS 0, 1 and 2 in.
 *
 * Promises: a message is acknowledged after the application has had it [MQTT-4.3.2-4, MQTT-4.3.3-8]; one of QoS 2 is handed over once, however often and over
 * however many connections of the session it comes, until its PUBREL [MQTT-4.3.3-10]. Acknowledgements leave in the order of the messages [MQTT-4.6.0-2, MQTT-4.6.0-3].
 * Left out: handing over at PUBREL, as MQTT.js does (MQTT 5 section 4.3.3 allows both); a Receive Maximum that the server exceeds.
 */
import { encodeAcknowledgement } from '../wire/mqtt-codec.ts'
import type { Acknowledgement, Publish } from '../wire/packets.ts'
import type { ClientCore } from './core.ts'

export function receivePublish(core: ClientCore, packet: Publish): void {
  if (packet.properties?.topicAlias !== undefined) {
    core.violated('topic alias, though the maximum is 0 [MQTT-3.3.2-11]', 0x94)
    return
  }
  const { packetId, qos } = packet
  const connection = core.accepted
  if (qos === 2 && core.unreleased?.has(packetId) === true) core.options.counters.receivedAgain++
  else {
    if (qos === 2) {
      core.unreleased ??= new Set()
      core.unreleased.add(packetId)
    }
    core.options.counters.received++
    core.listener.onMessage(packet.topic, packet.payload, qos, packet.dup, packet.retain)
  }
  if (qos > 0 && connection === core.accepted) core.send(encodeAcknowledgement(qos === 1 ? 'puback' : 'pubrec', packetId, 0, core.version))
}

/** PUBREL: the packet id is free again. One that is not known was released before, and its PUBCOMP got lost. */
export function receiveRelease(core: ClientCore, { packetId }: Acknowledgement): void {
  core.answered()
  const known = core.unreleased?.delete(packetId) === true
  core.send(encodeAcknowledgement('pubcomp', packetId, known ? 0 : 0x92, core.version))
}
