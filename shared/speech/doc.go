// Package speech is the contract of speech calls: audio to text
// ([Transcriber]), text to audio ([Synthesizer]), and what they consumed
// ([Usage]).
//
// A dialect package parses what a client sent, the gateway chooses where it goes
// and an adapter speaks the vendor's wire format. One call is at most one HTTP
// request. Errors are *fault.Error with the same codes and the same rules as in
// package model: a fixed message, no vendor text, no URL, no key.
//
// Adapters return segments and words; the text formats srt, vtt and plain text
// are rendered here ([Transcription.SRT], [Transcription.VTT]), so that every
// vendor that gives times has them. Times are integer milliseconds, because they
// are billed. [Measure] finds the duration of WAV audio; other containers are
// not decoded.
package speech
