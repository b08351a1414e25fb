/**
 * `wire-legal`: every packet that the service sends is legal at that point of the protocol. Statements are those of the OASIS standard for MQTT 5; where 3.1.1
 * differs, it says so.
 *
 * Put to the test by every packet received. Judged with what the client knows: an identifier counts as free from the moment the client acknowledged it, so a
 * service that reuses it too early by the time of one way is not found out.
 * What a PUBLISH must carry of the message (`forwarding-legal.ts`) is judged where the witness knows which subscriptions were in force; whether it should have expired, in
 * calm (`expiry-legal.ts`).
 * PUBACKs out of order are held against the service too: the standard binds the client to that order [MQTT-4.6.0-2], and the service promises it as well.
 */
import type { IConnackPacket, ISubackPacket, IUnsubackPacket, Packet } from 'mqtt-packet'
import type { Check, Delivery, Shared } from './check.ts'
import { connackFlaw } from './connack-legal.ts'
import type { AcknowledgementKind } from './decoder.ts'
import { ExpiryJudge } from './expiry-legal.ts'
import { forwardingFlaw, retainedFlaw } from './forwarding-legal.ts'
import { isGenuinePayload, publisherAt, sequenceAt } from './payload.ts'
import { Findings } from './promise.ts'
import { type Connection, type Incoming, NEVER } from './state.ts'

/** Packets that only clients send. */
const clientPackets: readonly string[] = ['connect', 'subscribe', 'unsubscribe']

export function checkWireLegal({ ledger, calm }: Shared): Check {
  const findings = new Findings('wire-legal')
  const expiry = new ExpiryJudge(ledger, calm)

  const illegal = (connection: Connection, statement: string, text: string, timeUs: number) => {
    findings.violated(timeUs, `${statement} ${text.replace(/\d+/g, '#')}`, () => ({
      text: `The service sent ${connection.client.id} ${text} [${statement}].`,
      evidence: [
        {
          timeUs: connection.connectSentAtUs,
          text: `CONNECT of ${connection.client.id}, version ${connection.version}, on connection ${connection.id}`,
        },
        ...(connection.connackAtUs === NEVER ? [] : [{ timeUs: connection.connackAtUs, text: 'CONNACK' }]),
        { timeUs, text },
      ],
    }))
  }

  const notExpired = (delivery: Delivery, retained: boolean) => {
    if (!expiry.hasExpired(delivery, retained)) return
    const { connection, flow, timeUs } = delivery
    illegal(connection, 'MQTT-3.3.2-5', `PUBLISH of a message whose Message Expiry Interval of ${flow.expirySeconds} s has passed`, timeUs)
  }

  /** What holds for any packet; false where it makes no sense to look closer. */
  const mayCome = (connection: Connection, name: string, frameBytes: number, timeUs: number): boolean => {
    findings.exercised++
    if (frameBytes > connection.maximumPacketBytes) {
      illegal(connection, 'MQTT-3.1.2-24', `${name} larger than the client takes`, timeUs)
    }
    if (connection.serverEnded === 'connack') illegal(connection, 'MQTT-3.2.2-7', `${name} after it refused the connection`, timeUs)
    else if (connection.serverEnded === 'disconnect') illegal(connection, 'MQTT-3.14.4-1', `${name} after its DISCONNECT`, timeUs)
    else if (connection.connackAtUs === NEVER && name !== 'CONNACK' && name !== 'AUTH')
      illegal(connection, 'MQTT-3.2.0-1', `${name} before CONNACK`, timeUs)
    else return true
    return false
  }

  const sameMessage = (open: Incoming, bytes: Buffer, start: number, end: number): boolean =>
    open.flow !== undefined &&
    isGenuinePayload(bytes, start, end) &&
    open.flow.publisher === publisherAt(bytes, start) &&
    open.sequence === sequenceAt(bytes, start)

  const acknowledgement = (connection: Connection, kind: AcknowledgementKind, packetId: number, timeUs: number) => {
    if (kind === 'pubrel') {
      const incoming = connection.session?.incoming.get(packetId)
      if (incoming === undefined) {
        // A PUBREL whose PUBCOMP was lost with an older connection comes again; on a session that never had another there is none.
        if (connection.version === 5 && connection.session?.connections === 1 && connection.client.connects === 1) {
          illegal(connection, 'MQTT-4.3.3-4', `PUBREL ${packetId}, for which no PUBREC is open`, timeUs)
        }
      } else if (incoming.qos === 1) illegal(connection, 'MQTT-4.3.3-4', `PUBREL ${packetId} for a message of QoS 1`, timeUs)
      else if (!incoming.received) illegal(connection, 'MQTT-4.3.3-4', `PUBREL ${packetId} before PUBREC`, timeUs)
      else if (connection.version === 5 && incoming.releasedOn === connection.id) {
        illegal(connection, 'MQTT-4.4.0-1', `PUBREL ${packetId} again on the same connection`, timeUs)
      }
      return
    }
    const publication = connection.session?.outgoing.get(packetId)
    const name = kind.toUpperCase()
    if (publication === undefined || publication.connectionId !== connection.id) {
      // A client that resumes may first release what was received before, so PUBCOMP can belong to a PUBLISH of an older connection.
      if (kind === 'pubcomp' && (publication?.releaseSent || connection.strayReleases?.delete(packetId))) return
      // 3.1.1 lets a client send a PUBLISH again on the same connection, and then each is answered.
      if (connection.resentHere) return
      illegal(connection, 'MQTT-2.2.1-5', `${name} ${packetId}, which belongs to no open publish of this connection`, timeUs)
      return
    }
    const expected = publication.qos === 1 ? kind === 'puback' : kind !== 'puback'
    if (!expected) {
      illegal(
        connection,
        publication.qos === 1 ? 'MQTT-4.3.2-4' : 'MQTT-4.3.3-8',
        `${name} ${packetId} for a publish of QoS ${publication.qos}`,
        timeUs,
      )
    } else if (kind === 'pubcomp' && !publication.received)
      illegal(connection, 'MQTT-4.3.3-11', `PUBCOMP ${packetId} before PUBREC`, timeUs)
    else if (kind === 'pubcomp' && !publication.releaseSent)
      illegal(connection, 'MQTT-4.3.3-11', `PUBCOMP ${packetId} before PUBREL`, timeUs)
    else if (kind === 'pubrec' && publication.received && connection.version === 5 && !connection.resentHere) {
      illegal(connection, 'MQTT-4.3.3-8', `PUBREC ${packetId} a second time`, timeUs)
    } else if (kind === 'puback' && publication.order < connection.pubackOrder) {
      illegal(connection, 'MQTT-4.6.0-2', `PUBACK ${packetId} after that of a later publish`, timeUs)
    } else if (kind === 'pubrec' && !publication.received && publication.order < connection.pubrecOrder) {
      illegal(connection, 'MQTT-4.6.0-3', `PUBREC ${packetId} after that of a later publish`, timeUs)
    }
  }

  const connack = (connection: Connection, packet: IConnackPacket, timeUs: number) => {
    if (connection.connackAtUs !== NEVER) illegal(connection, 'MQTT-3.2.0-2', 'a second CONNACK', timeUs)
    if (connection.connectSentAtUs === NEVER) illegal(connection, 'MQTT-3.1.0-1', 'CONNACK before any CONNECT', timeUs)
    const code = packet.reasonCode ?? packet.returnCode ?? 0
    if (code !== 0 && packet.sessionPresent) illegal(connection, 'MQTT-3.2.2-6', `CONNACK with code ${code} and session present`, timeUs)
    const flaw = connackFlaw(connection, packet)
    if (flaw !== undefined) illegal(connection, flaw.statement, flaw.text, timeUs)
  }

  const suback = (connection: Connection, packet: ISubackPacket, timeUs: number) => {
    const open = connection.openSubscribes?.find((each) => each.packetId === packet.messageId)
    if (open === undefined) {
      illegal(connection, 'MQTT-3.8.4-2', `SUBACK ${packet.messageId}, which belongs to no open SUBSCRIBE`, timeUs)
      return
    }
    const codes = packet.granted as readonly number[]
    if (codes.length !== open.requestedQos.length) {
      illegal(connection, 'MQTT-3.8.4-6', `SUBACK with ${codes.length} codes for ${open.requestedQos.length} filters`, timeUs)
      return
    }
    codes.forEach((code, index) => {
      if (code < 0x80 && code > open.requestedQos[index]!)
        illegal(connection, 'MQTT-3.8.4-7', `SUBACK that grants QoS ${code} where less was asked`, timeUs)
      if (connection.version !== 5 && code > 2 && code !== 0x80)
        illegal(connection, 'MQTT-3.9.3-2', `SUBACK with return code ${code}`, timeUs)
    })
  }

  const unsuback = (connection: Connection, packet: IUnsubackPacket, timeUs: number) => {
    const open = connection.openUnsubscribes?.find((each) => each.packetId === packet.messageId)
    if (open === undefined)
      illegal(connection, 'MQTT-3.10.4-5', `UNSUBACK ${packet.messageId}, which belongs to no open UNSUBSCRIBE`, timeUs)
    else if (connection.version === 5 && packet.granted.length !== open.filters.length) {
      illegal(connection, 'MQTT-3.11.3-1', `UNSUBACK with ${packet.granted.length} codes for ${open.filters.length} filters`, timeUs)
    }
  }

  return {
    findings,
    onServerMalformed(connection, statement, text, timeUs) {
      findings.exercised++
      illegal(connection, statement, text, timeUs)
    },
    onServerPingresp(connection, timeUs) {
      if (!mayCome(connection, 'PINGRESP', 2, timeUs)) return
      if (connection.openPings === 0) illegal(connection, 'MQTT-3.12.4-1', 'PINGRESP without a PINGREQ', timeUs)
    },
    onServerAcknowledgement(connection, kind, packetId, frameBytes, timeUs) {
      if (mayCome(connection, kind.toUpperCase(), frameBytes, timeUs)) acknowledgement(connection, kind, packetId, timeUs)
    },
    onServerPacket(connection, packet: Packet, frameBytes, timeUs) {
      if (clientPackets.includes(packet.cmd))
        illegal(connection, 'MQTT-2.1.2', `${packet.cmd.toUpperCase()}, which only clients send`, timeUs)
      if (!mayCome(connection, packet.cmd.toUpperCase(), frameBytes, timeUs)) return
      if (packet.cmd === 'connack') connack(connection, packet, timeUs)
      else if (packet.cmd === 'suback') suback(connection, packet, timeUs)
      else if (packet.cmd === 'unsuback') unsuback(connection, packet, timeUs)
      else if ((packet.cmd === 'disconnect' || packet.cmd === 'auth') && connection.version !== 5) {
        illegal(connection, 'MQTT-3.14 (3.1.1)', `${packet.cmd.toUpperCase()}, which a 3.x server does not send`, timeUs)
      }
    },
    onServerPublish(connection, frame, timeUs) {
      if (!mayCome(connection, 'PUBLISH', frame.frameBytes, timeUs)) return
      if (frame.topicAlias > connection.topicAliasMaximum) {
        illegal(
          connection,
          'MQTT-3.3.2-11',
          `topic alias ${frame.topicAlias}, beyond its Topic Alias Maximum of ${connection.topicAliasMaximum}`,
          timeUs,
        )
      } else if (frame.topicAlias !== 0 && frame.topic === '' && connection.aliasesToClient?.has(frame.topicAlias) !== true) {
        illegal(
          connection,
          'MQTT-3.3.2-7',
          `topic alias ${frame.topicAlias} without a topic name, which this connection did not set`,
          timeUs,
        )
      }
      if (frame.qos === 0) return
      const { packetId, bytes, payloadStart, payloadEnd } = frame
      const session = connection.session
      const open = session?.incoming.get(packetId)
      if (open === undefined) {
        const firstEver = session !== undefined && session.connections === 1 && connection.client.connects === 1
        if (frame.dup && firstEver && !session.inflows.some((inflow) => inflow.delivered.has(sequenceAt(bytes, payloadStart)))) {
          illegal(connection, 'MQTT-3.3.1-1', 'PUBLISH with DUP that it cannot have sent before', timeUs)
        }
      } else if (!sameMessage(open, bytes, payloadStart, payloadEnd)) {
        illegal(connection, 'MQTT-2.2.1-4', `PUBLISH with identifier ${packetId}, which another unacknowledged message has`, timeUs)
      } else if (!frame.dup) illegal(connection, 'MQTT-3.3.1-1', `PUBLISH ${packetId} again, without DUP`, timeUs)
      else if (connection.version === 5 && open.connectionId === connection.id) {
        illegal(connection, 'MQTT-4.4.0-1', `PUBLISH ${packetId} again on the same connection`, timeUs)
      } else if (open.releasedOn !== NEVER) illegal(connection, 'MQTT-4.3.3-6', `PUBLISH ${packetId} again after its PUBREL`, timeUs)
      const more = open === undefined || open.connectionId !== connection.id ? 1 : 0
      if (connection.version === 5 && connection.openIncoming + more > connection.receiveMaximum) {
        illegal(connection, 'MQTT-3.3.4-9', `PUBLISH ${packetId} beyond its Receive Maximum of ${connection.receiveMaximum}`, timeUs)
      }
    },
    onPublishSent(_connection, flow, sequence, _publication, kind) {
      if (kind === 'resent') expiry.onSentAgain(flow, sequence)
    },
    onSweep: (nowUs) => expiry.onSweep(nowUs),
    onReleaseSent(connection, packetId, publication) {
      // Of a session that is gone, or of a publish that was refused: to be answered all the same.
      if (publication !== undefined) return
      if (connection.strayReleases === undefined) connection.strayReleases = new Set()
      connection.strayReleases.add(packetId)
    },
    onRetainedDelivery(delivery) {
      const { connection, inflow, flow, qos, timeUs } = delivery
      const limit = inflow.maximumQos >= 0 ? Math.min(inflow.maximumQos, flow.qos) : flow.qos
      if (qos > limit) illegal(connection, 'MQTT-3.8.4-8', `retained PUBLISH with QoS ${qos} where at most ${limit} is due`, timeUs)
      notExpired(delivery, true)
      const flaw = retainedFlaw(ledger, delivery)
      if (flaw !== undefined) illegal(connection, flaw.statement, flaw.text, timeUs)
    },
    onDelivery(delivery) {
      const { connection, inflow, flow, qos, sequence, timeUs } = delivery
      notExpired(delivery, false)
      const flaw = forwardingFlaw(ledger, delivery)
      if (flaw !== undefined) illegal(connection, flaw.statement, flaw.text, timeUs)
      else if (inflow.maximumQos >= 0 && qos > inflow.maximumQos) {
        illegal(connection, 'MQTT-3.8.4-8', `PUBLISH with QoS ${qos} for a subscription of QoS ${inflow.maximumQos}`, timeUs)
      } else if (qos === 0 && sequence >= inflow.dueFrom && inflow.groups === undefined && !delivery.mayBeRetained) {
        illegal(
          connection,
          'MQTT-3.8.4-8',
          `PUBLISH with QoS 0 of a message of QoS ${flow.qos} for a subscription of QoS ${inflow.maximumQos}`,
          timeUs,
        )
      } else if (qos > flow.qos) illegal(connection, 'MQTT-3.8.4-8', `PUBLISH with QoS ${qos} of a message of QoS ${flow.qos}`, timeUs)
    },
  }
}
