/** What the verbs that ask a tracker do, this one or another, through Tor or on this machine. Exit codes are returned. */
import type { Command } from 'commander'
import { ConfigError } from '../errors.ts'
import { reachableAddress } from '../tor/address.ts'
import { systemClock } from '../world.ts'
import { describeSpend } from './answer-text.ts'
import { configOf, isJson, outpointsOf, print, printJson } from './command.ts'
import { checkProof, type QuestionOptions, query, questionOf, REGISTERS, trackerAddress } from './query.ts'
import { registerAt } from './register.ts'
import { describeProofVerdict, describeReply, jsonOf } from './replies.ts'
import { lookOf } from './table-options.ts'
import { describeVerification, jsonOfVerification, verifyTracker } from './verify.ts'
import { watchLive } from './watch.ts'

export async function queryTracker(
  target: string,
  word: string,
  about: string | undefined,
  options: QuestionOptions & { wide?: boolean; columns?: readonly string[] },
  command: Command,
  signal: AbortSignal,
): Promise<number> {
  const config = configOf(command)
  const question = questionOf(word, about, options)
  if ((options.wide || options.columns) && !['Bonds', 'Trackers'].includes(question.type)) {
    throw new ConfigError('--wide and --columns are for bonds and trackers')
  }
  const reply = await query(config, target, question, signal)
  const look = lookOf(command, systemClock)
  if (question.type === 'Watch') process.stderr.write(`${REGISTERS}\n`)
  if (question.type !== 'BondProof' || reply.type !== 'BondProof') {
    if (isJson(command)) printJson(jsonOf(reply))
    else print(describeReply(reply, look))
    return reply.type === 'Error' ? 1 : 0
  }
  const verdict = checkProof(reply, question.outpoint, config)
  if (isJson(command)) {
    const block = verdict.ok ? verdict.blockHash : null
    const fault = verdict.ok ? null : verdict.fault
    printJson({ ...jsonOf(reply), holds: verdict.ok, fault, block_hash: block })
  } else print(`${describeReply(reply, look)}\n${describeProofVerdict(verdict, reply.height)}`)
  return verdict.ok ? 0 : 1
}

export async function verifyList(target: string, command: Command, signal: AbortSignal): Promise<number> {
  const verification = await verifyTracker(configOf(command), trackerAddress(target), signal)
  if (isJson(command)) printJson(jsonOfVerification(verification))
  else print(describeVerification(verification))
  return verification.agrees ? 0 : 1
}

export async function followOutpoints(
  texts: string[],
  { tracker }: { tracker?: string },
  command: Command,
  signal: AbortSignal,
): Promise<void> {
  const config = configOf(command)
  const outpoints = outpointsOf(texts)
  const address = tracker === undefined ? reachableAddress(config.listen) : trackerAddress(tracker)
  for await (const event of watchLive(config, address, outpoints, signal)) {
    if (event.kind === 'lost') process.stderr.write(`${event.detail}: trying again\n`)
    else print(isJson(command) ? JSON.stringify(event.row) : describeSpend(event.row))
  }
}

export async function register(
  texts: string[],
  { blocks, tracker }: { blocks: number; tracker?: string },
  command: Command,
  signal: AbortSignal,
): Promise<number> {
  const config = configOf(command)
  const address = tracker === undefined ? reachableAddress(config.listen) : trackerAddress(tracker)
  const asked = { outpoints: outpointsOf(texts), ttlBlocks: blocks }
  const onEffort = ({ bits }: { bits: number }) =>
    process.stderr.write(`an effort of ${bits} bits is asked for, some ${2 ** bits} hashes: Ctrl-C gives up\n`)
  const { reply, efforts } = await registerAt(config, address, asked, { clock: systemClock, signal, onEffort })
  if (isJson(command)) printJson({ ...jsonOf(reply), efforts })
  else {
    for (const effort of efforts)
      print(`effort: ${effort.bits} bits, ${effort.hashes} hashes in ${effort.seconds.toFixed(1)} s`)
    print(describeReply(reply, lookOf(command, systemClock)))
  }
  return reply.type === 'Registered' ? 0 : 1
}
