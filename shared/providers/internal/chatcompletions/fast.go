package chatcompletions

import (
	"unicode/utf8"

	"github.com/latchkey/latchkey/shared/model/jsonwire"
)

// fastText reads the chunk that makes up nearly all of a stream: one choice with
// a piece of text and nothing else. ok is false for every other chunk, which then
// takes the general way; so this must never accept what that would refuse or
// read differently (FuzzFastText compares them).
func fastText(data []byte) (text string, ok bool) {
	if !utf8.Valid(data) {
		return "", false
	}
	choice, ok := member(data, "choices", plainTop)
	if !ok {
		return "", false
	}
	choice, ok = jsonwire.Only(choice)
	if !ok {
		return "", false
	}
	delta, ok := member(choice, "delta", plainChoice)
	if !ok {
		return "", false
	}
	content, ok := member(delta, "content", plainDelta)
	if !ok || len(content) < 3 {
		return "", false
	}
	return jsonwire.Unquote(content)
}

// kinds of members that may stand beside the wanted one.
type beside uint8

const (
	mustBeNull beside = iota + 1
	mustBeZero
	mustBeString
	mustBeNumber
)

var (
	plainTop = map[string]beside{"id": mustBeString, "object": mustBeString, "model": mustBeString,
		"system_fingerprint": mustBeString, "provider": mustBeString, "service_tier": mustBeString, "obfuscation": mustBeString, "p": mustBeString,
		"created": mustBeNumber, "usage": mustBeNull, "error": mustBeNull}
	plainChoice = map[string]beside{"index": mustBeZero, "logprobs": mustBeNull, "finish_reason": mustBeNull,
		"native_finish_reason": mustBeNull, "error": mustBeNull}
	plainDelta = map[string]beside{"role": mustBeString, "refusal": mustBeNull, "reasoning": mustBeNull,
		"reasoning_content": mustBeNull, "tool_calls": mustBeNull, "audio": mustBeNull}
)

// member returns the one member called name, if all others are as allowed.
func member(object []byte, name string, allowed map[string]beside) (value []byte, ok bool) {
	w, ok := jsonwire.Walk(object)
	if !ok {
		return nil, false
	}
	for {
		k, v, more, ok := w.Next()
		if !ok {
			return nil, false
		}
		if !more {
			return value, value != nil
		}
		if string(k) == name {
			if value != nil {
				return nil, false
			}
			value = v
			continue
		}
		if !allowed[string(k)].admits(v) {
			return nil, false
		}
	}
}

func (n beside) admits(v []byte) bool {
	if string(v) == "null" {
		return n != 0
	}
	switch n {
	case mustBeZero:
		return string(v) == "0"
	case mustBeString:
		return v[0] == '"'
	case mustBeNumber:
		return v[0] >= '0' && v[0] <= '9'
	}
	return false
}
