import {parseDocument} from 'yaml'
import {type z} from 'zod'
import {InputError} from './errors.js'

/**
 * Parses a small settings file.
 *
 * @param file for messages
 * @param hint what the file may say, for one that says something else
 * @throws InputError that names the file and the key
 */
export function parseSettings<T>(text: string, file: string, schema: z.ZodType<T>, hint: string): T {
  const document = parseDocument(text)
  const [error] = document.errors
  if (error) throw new InputError(`${file}: ${error.message.split('\n')[0]!.replace(/:$/, '')}`)
  const result = schema.safeParse(plainData(document, file) ?? {})
  if (result.success) return result.data
  const [issue] = result.error.issues
  throw new InputError(`${file}: ${issue!.path.join('.') || 'the file'}: ${issue!.message}; ${hint}`)
}

/** What a document says, without YAML's own: anchors that refer to too much are refused. */
export function plainData(document: ReturnType<typeof parseDocument>, file: string): unknown {
  try {
    return document.toJS()
  } catch (error) {
    throw new InputError(`${file}: ${error instanceof Error ? error.message : String(error)}`)
  }
}
