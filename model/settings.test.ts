import { expect, test } from 'vitest'
import { serviceProfiles } from './service-profiles.ts'
import { defaultSettings } from './settings.ts'

test('messages are kept for three days by default, as RocketMQ keeps them (fileReservedTime: 72 hours)', () => {
  expect(defaultSettings.broker.retentionMs).toBe(259_200_000)
  expect(serviceProfiles['rocketmq-defaults'].broker?.retentionMs).toBe(72 * 3_600_000)
})
