// Package openaiaudio is the OpenAI audio dialect as clients speak it to us:
// transcription and translation forms ([ParseTranscription]), speech requests
// ([ParseSpeech]), and answers in every format their SDKs read.
//
// Forms are bounded, each field is taken once, lists are accepted with and
// without brackets (clients send both), booleans as true, True and 1. Text and
// subtitles are served as text/plain, as OpenAI does, because SDKs hand them out
// unparsed. Errors use the envelope of package openaichat.
//
// Every refusal is fault.InvalidRequest, fault.UnsupportedMedia or
// fault.TooLarge and names the field. The package does no I/O and keeps no state.
//
// Source: openai-go v3.96.0 audio types and the SDKs' behaviour (openai 6.49.0),
// read 2026-11.
package openaiaudio
