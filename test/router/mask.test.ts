import {describe, expect, it} from 'vitest'
import {createMask} from '../../src/router/mask.js'

const secret = (text: string) => createMask({addresses: false}).text(text)
const both = (text: string) => createMask({addresses: true}).text(text)

describe('secrets', () => {
  it.each([
    ["\toption password 'correct horse'\n", "\toption password 'MASKED'\n"],
    ["\toption password 'it'\\''s one'\n\toption x '1'\n", "\toption password 'MASKED'\n\toption x '1'\n"],
    ["\toption password 'over\ntwo lines'\n\toption x '1'\n", "\toption password 'MASKED'\n\toption x '1'\n"],
    ['\toption key "a \\" b"\n', "\toption key 'MASKED'\n"],
    ['\toption key plain\n', "\toption key 'MASKED'\n"],
    ["option 'wpakey' 'x'", "option 'wpakey' 'MASKED'"],
    ["\tlist private_key 'x'\n", "\tlist private_key 'MASKED'\n"],
    ["\toption username 'line@provider.example'\n", "\toption username 'MASKED'\n"],
    ["\toption sae_password 'x'\n", "\toption sae_password 'MASKED'\n"],
    ["\toption preshared_key 'x'\n", "\toption preshared_key 'MASKED'\n"],
    ["\toption PASSWORD 'x'\n", "\toption PASSWORD 'MASKED'\n"],
    ['peer: yAnz5TF+lXXJte14tji3zlMNq+hd2rYUIgJBgB3fBmk= end', 'peer: MASKED end'],
    ['-----BEGIN OPENSSH PRIVATE KEY-----\nabc\n-----END OPENSSH PRIVATE KEY-----\n', 'MASKED\n'],
    ['-----BEGIN RSA PRIVATE KEY-----\ncut off', 'MASKED'],
  ])('are taken out of %j', (text, masked) => {
    expect(secret(text)).toBe(masked)
  })

  it.each(["\toption device 'br-lan'\n", "\toption flow_offloading '1'\n", "\toption keep '1'\n", 'ct mark & 0xff == 0 flow add @ft', 'sha256:946753bce8ad53bd16aa402f7f0f4d7eb1252e4b096a2112c765d9c1d8ec08db'])(
    'and nothing is taken out of %j',
    (text) => {
      expect(secret(text)).toBe(text)
    },
  )

  it('are counted', () => {
    const mask = createMask({addresses: false})
    mask.text("option password 'a'\noption key 'b'\n")
    mask.text('yAnz5TF+lXXJte14tji3zlMNq+hd2rYUIgJBgB3fBmk=')
    expect(mask.count()).toEqual({secrets: 3, addresses: 0})
  })
})

describe('public addresses', () => {
  it.each([
    ['src=10.0.0.2 dst=8.8.4.4 sport=1', 'src=10.0.0.2 dst=public-4-1 sport=1'],
    ['IP 8.8.4.4.53 > 192.168.1.2.4321: UDP', 'IP public-4-1.53 > 192.168.1.2.4321: UDP'],
    ['default via 8.8.4.1 dev wan', 'default via public-4-1 dev wan'],
    ['inet 8.8.4.1/24 brd 8.8.4.255', 'inet public-4-1/24 brd public-4-2'],
    ['IP6 2a00:1450::1.53 > fd00::2.99: UDP', 'IP6 public-6-1.53 > fd00::2.99: UDP'],
    ['IP6 2a00:1450::1 > fe80::2: ICMP6', 'IP6 public-6-1 > fe80::2: ICMP6'],
    ['IP6 fe80::2 > 2a00:1450::1: ICMP6', 'IP6 fe80::2 > public-6-1: ICMP6'],
    ['src=2a00:1450:0000:0000:0000:0000:0000:0001 dst=2a00:1450::1', 'src=public-6-1 dst=public-6-1'],
    ['::ffff:8.8.4.4', 'public-6-1'],
    ['64:ff9b::8.8.4.4', 'public-6-1'],
  ])('get other names in %j', (text, masked) => {
    expect(both(text)).toBe(masked)
  })

  it.each([
    'lladdr 02:00:00:00:01:01 REACHABLE',
    '12:34:56.789012 IP 10.0.0.1 > 224.0.0.251: igmp',
    '127.0.0.1 169.254.1.1 100.64.0.1 172.31.0.1 192.0.2.1 198.51.100.7 203.0.113.9 255.255.255.255 0.0.0.0',
    '::1 :: fe80::1 fd12::1 ff02::1 2001:db8::1',
    'bridge_id 8000.42:87:8f:f7:76:72',
    'version 6.12.117 and 999.1.1.1',
    '10.0.0.0/24',
  ])('and nothing else does in %j', (text) => {
    expect(both(text)).toBe(text)
  })

  it('keep their names in the whole archive, and are only masked when asked for', () => {
    const mask = createMask({addresses: true})
    expect(mask.text('8.8.4.4 8.8.8.8')).toBe('public-4-1 public-4-2')
    expect(mask.text('8.8.8.8')).toBe('public-4-2')
    expect(mask.count()).toEqual({secrets: 0, addresses: 2})
    expect(secret('8.8.8.8')).toBe('8.8.8.8')
  })
})
