/**
 * DNS messages as this region uses them: one question, A records (RFC 1035 section 4), by the codec `dns-packet`.
 *
 * The codec throws on bytes that are no message; here that is an answer like any other. Left out: compression when writing, EDNS, TCP: an answer of a few addresses fits 512 bytes.
 */
import { AUTHORITATIVE_ANSWER, type DecodedPacket, decode, encode, encodingLength, type Question, RECURSION_DESIRED } from 'dns-packet'

/** RFC 1035 section 4.1.1. */
export const responseCodes = { noError: 0, formatError: 1, nameError: 3, notImplemented: 4 } as const
export type ResponseCode = (typeof responseCodes)[keyof typeof responseCodes]

/** RFC 1035 section 4.2.1: what a datagram without EDNS may carry. */
const MAXIMUM_DATAGRAM_BYTES = 512

const OPCODE_SHIFT = 11

export interface DnsQuestion {
  /** In lower case: names are compared without regard to case (RFC 4343). */
  readonly name: string
  readonly type: string
  /** As it was asked, to be echoed. */
  readonly asked: Question
}

export interface DnsMessage {
  readonly id: number
  readonly isResponse: boolean
  readonly opcode: number
  readonly recursionDesired: boolean
  readonly responseCode: number
  /** Undefined unless there is exactly one, of class IN, for a name of letters, digits, hyphens, underscores and dots. */
  readonly question: DnsQuestion | undefined
  /** The A records for the name of the question. */
  readonly addresses: readonly { readonly address: string; readonly ttlSeconds: number }[]
}

const HOST_NAME = /^[a-z0-9_-]{1,63}(\.[a-z0-9_-]{1,63})*$/

/** @returns undefined for what is no DNS message. */
export function readDnsMessage(bytes: Buffer): DnsMessage | undefined {
  const packet = decodeQuietly(bytes)
  if (packet === undefined) return undefined
  const flags = packet.flags ?? 0
  const question = packet.questions?.length === 1 ? readQuestion(packet.questions[0]!) : undefined
  const addresses: { address: string; ttlSeconds: number }[] = []
  for (const answer of packet.answers ?? []) {
    if (answer.type === 'A' && answer.name.toLowerCase() === question?.name)
      addresses.push({ address: answer.data, ttlSeconds: answer.ttl ?? 0 })
  }
  return {
    id: packet.id ?? 0,
    isResponse: packet.type === 'response',
    opcode: (flags >> OPCODE_SHIFT) & 0xf,
    recursionDesired: (flags & RECURSION_DESIRED) !== 0,
    responseCode: flags & 0xf,
    question,
    addresses,
  }
}

function decodeQuietly(bytes: Buffer): DecodedPacket | undefined {
  try {
    return decode(bytes)
  } catch {
    return undefined
  }
}

function readQuestion(question: Question): DnsQuestion | undefined {
  const name = question.name.toLowerCase()
  if (question.class !== 'IN' || name.length > 253 || !HOST_NAME.test(name)) return undefined
  return { name, type: question.type, asked: { name: question.name, type: question.type, class: 'IN' } }
}

export function writeDnsQuery(id: number, name: string): Buffer {
  return encode({ type: 'query', id, flags: RECURSION_DESIRED, questions: [{ name, type: 'A', class: 'IN' }] })
}

/**
 * The authoritative answer to `query`. The question is echoed byte for byte as it was asked; a question that could not be read is left out.
 * Of more addresses than a datagram holds, the first ones are given: their order changes from answer to answer, so that each has its turn.
 */
export function writeDnsResponse(query: DnsMessage, responseCode: ResponseCode, addresses: readonly string[], ttlSeconds: number): Buffer {
  const { question } = query
  const flags = AUTHORITATIVE_ANSWER | (query.opcode << OPCODE_SHIFT) | (query.recursionDesired ? RECURSION_DESIRED : 0) | responseCode
  const header = { type: 'response' as const, id: query.id, flags, questions: question === undefined ? [] : [question.asked] }
  if (question === undefined || addresses.length === 0) return encode(header)
  const answers = addresses.map((data) => ({ type: 'A' as const, name: question.asked.name, class: 'IN' as const, ttl: ttlSeconds, data }))
  const emptyBytes = encodingLength(header)
  const answerBytes = encodingLength({ answers: [answers[0]!] }) - encodingLength({})
  return encode({ ...header, answers: answers.slice(0, Math.floor((MAXIMUM_DATAGRAM_BYTES - emptyBytes) / answerBytes)) })
}

/** The values in their order, beginning `by` places later. */
export function rotated<T>(values: readonly T[], by: number): readonly T[] {
  return by === 0 ? values : [...values.slice(by), ...values.slice(0, by)]
}
