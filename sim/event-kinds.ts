/**
 * The kinds of events in the queue. An event's code is `machine index * kindsPerMachine + kind`; index 0 is the world itself. The digest covers codes,
 * so a number given here is never given anew.
 */
export const kindsPerMachine = 32

export const DATA = 0
export const SYN = 1
export const OPENED = 2
export const REFUSED = 3
export const ACCEPT = 4
export const FIN = 5
export const RESET = 6
export const WINDOW = 7
export const READ = 8
export const DRAIN = 9
export const RETRANSMIT = 10
export const PROBE = 11
export const ACKNOWLEDGE = 12
export const SYN_AGAIN = 13
export const GONE = 14
export const PASSING = 15
export const DATAGRAM = 16
export const TIMER = 17
export const DISK = 18
export const WAKE = 19
export const CALLBACK = 20
export const STOP = 21
/** Not queued: noted in the digest when they happen. */
export const PROCESS_STARTED = 22
export const PROCESS_ENDED = 23
export const POWER_LOST = 24
/** Queued. */
export const UPGRADED = 25
/** Noted when it happens. */
export const ADDRESS_CHANGED = 26
/** Noted when it happens. */
export const DISK_DAMAGED = 27
/** Queued. */
export const STARTED_UP = 28

export const kindNames: readonly string[] = [
  'data',
  'syn',
  'opened',
  'refused',
  'accept',
  'fin',
  'reset',
  'window',
  'read',
  'drain',
  'retransmit',
  'probe',
  'acknowledge',
  'syn-again',
  'gone',
  'passing',
  'datagram',
  'timer',
  'disk',
  'wake',
  'callback',
  'stop',
  'process-started',
  'process-ended',
  'power-lost',
  'upgraded',
  'address-changed',
  'disk-damaged',
  'started-up',
]
