/** The verbs `register`, for takers, and `watches`, for whoever runs a tracker. */
import type { Command } from 'commander'
import { reachableAddress } from '../tor/address.ts'
import { systemClock } from '../world.ts'
import { configOf, isJson, print, printJson, wholeHeight } from './command.ts'
import { describeReply, jsonOf, trackerAddress } from './query.ts'
import { registerAt } from './register.ts'
import { describeWatches } from './text.ts'
import type { Cli } from './verbs.ts'
import { outpointsOf } from './watch.ts'
import { dropWatches, readWatches } from './watches.ts'

export function addRegistrationVerbs(cli: Cli): void {
  const { verb, signal } = cli
  verb('register', 'Have outpoints watched until a height, whoever is connected, with the effort that is asked for.')
    .argument('<outpoint...>', 'txid:vout, as bitcoin-cli prints it')
    .option('--blocks <n>', 'for how many blocks from now on', wholeHeight, 2_016)
    .option(
      '--tracker <host:port>',
      'ask this tracker, an onion address through Tor (default: the one of these settings)',
    )
    .option('--json', 'print JSON')
    .action(async (texts: string[], options: { blocks: number; tracker?: string }, command: Command) => {
      const config = configOf(command)
      const address = options.tracker === undefined ? reachableAddress(config.listen) : trackerAddress(options.tracker)
      const asked = { outpoints: outpointsOf(texts), ttlBlocks: options.blocks }
      const onEffort = ({ bits }: { bits: number }) =>
        process.stderr.write(`an effort of ${bits} bits is asked for, some ${2 ** bits} hashes: Ctrl-C gives up\n`)
      const { reply, efforts } = await registerAt(config, address, asked, { clock: systemClock, signal, onEffort })
      if (isJson(command)) printJson({ ...jsonOf(reply), efforts })
      else {
        for (const effort of efforts)
          print(`effort: ${effort.bits} bits, ${effort.hashes} hashes in ${effort.seconds.toFixed(1)} s`)
        print(describeReply(reply))
      }
      cli.exitCode = reply.type === 'Registered' ? 0 : 1
    })
  verb('watches', 'Show how many outpoints takers have registered, and when they end.')
    .option('--drop <outpoint...>', 'end these registrations, which their takers rely on. The daemon must not run')
    .option('--drop-after <height>', 'end those that were asked for until after this block', wholeHeight)
    .option('--json', 'print JSON')
    .action(async (options: { drop?: string[]; dropAfter?: number }, command: Command) => {
      const config = configOf(command)
      if (options.drop === undefined && options.dropAfter === undefined) {
        const watches = readWatches(config)
        if (isJson(command)) printJson(watches)
        else print(describeWatches(watches))
        return
      }
      const which = { outpoints: outpointsOf(options.drop ?? []), after: options.dropAfter }
      const result = await dropWatches(config, which, systemClock, signal)
      if (isJson(command)) printJson(result)
      else {
        for (const outpoint of result.missing) print(`${outpoint} was not registered`)
        print(`${result.dropped} registrations ended. Start the daemon`)
      }
      cli.exitCode = result.missing.length > 0 ? 1 : 0
    })
}
