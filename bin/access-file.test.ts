import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, describe, expect, test } from 'vitest'
import { readAccess } from './access-file.ts'

describe('a file of access rules', () => {
  const folder = mkdtempSync(join(tmpdir(), 'squall-access-'))
  const file = join(folder, 'access.json')
  const read = (value: unknown) => {
    writeFileSync(file, JSON.stringify(value))
    return readAccess(file)
  }
  afterAll(() => rmSync(folder, { recursive: true }))

  test('says who may do what, and is open where it says nothing', () => {
    expect(read({})).toEqual({ access: 'open', topicCreation: 'auto', topics: new Set(), users: new Map() })
    const user = { username: 'meter', password: 'secret', publish: ['meters/#'], subscribe: [] }
    expect(read({ access: 'permissions', topicCreation: 'console', topics: ['meters'], users: [user] })).toEqual({
      access: 'permissions',
      topicCreation: 'console',
      topics: new Set(['meters']),
      users: new Map([['meter', user]]),
    })
    expect([...read({ users: [{ username: 'meter', password: '' }] }).users.values()]).toEqual([
      { username: 'meter', password: '', publish: [], subscribe: [] },
    ])
  })

  test.each([
    [[], 'expected an object'],
    [{ user: [] }, 'unknown field user. known: access, topicCreation, topics, users'],
    [{ access: 'closed' }, 'access: expected open or permissions, got "closed"'],
    [{ topics: 'meters' }, 'topics: expected a list'],
    [{ users: [{ username: 'meter' }] }, 'users[0].password: expected a text, got undefined'],
    [
      {
        users: [
          { username: 'meter', password: 'a' },
          { username: 'meter', password: 'b' },
        ],
      },
      'users[1].username: there is another meter',
    ],
    [{ users: [{ username: 'meter', password: '', publish: ['a', 5] }] }, 'users[0].publish[1]: expected a text, got 5'],
  ])('is refused as %j, by the place of what is wrong', (value, message) => {
    expect(() => read(value)).toThrow(`${file}: ${message}`)
  })

  test('is refused where it is not there, or not JSON', () => {
    expect(() => readAccess(join(folder, 'nowhere.json'))).toThrow('no such file')
    writeFileSync(file, '{')
    expect(() => readAccess(file)).toThrow(file)
  })
})
