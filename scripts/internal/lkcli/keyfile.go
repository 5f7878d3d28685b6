package lkcli

import (
	"encoding/json"
	"errors"

	"github.com/latchkey/latchkey/shared/model/jsonwire"
	"github.com/latchkey/latchkey/shared/webhook"
)

// maxKeyFile bounds the file of key sets.
const maxKeyFile = 1 << 20

// keyFile holds key sets by name; "" is a file that is one set for every name.
type keyFile map[string][]webhook.Key

// KeySet implements [webhook.KeySets].
func (k keyFile) KeySet(name, _ string) ([]webhook.Key, bool) {
	keys, ok := k[name]
	if !ok {
		keys, ok = k[""]
	}
	return keys, ok
}

var errKeyFile = errors.New(`not a key set {"keys":[...]} and not an object of key sets by name`)

// readKeyFile reads one key set, or an object of them by name.
func readKeyFile(b []byte) (keyFile, error) {
	var sets map[string]json.RawMessage
	if jsonwire.Check(b) != nil || json.Unmarshal(b, &sets) != nil {
		return nil, errKeyFile
	}
	if list, ok := sets["keys"]; ok && len(list) > 0 && list[0] == '[' {
		keys, err := webhook.ParseKeySet(b)
		if err != nil {
			return nil, errKeyFile
		}
		return keyFile{"": keys}, nil
	}
	out := keyFile{}
	for name, raw := range sets {
		keys, err := webhook.ParseKeySet(raw)
		if err != nil {
			return nil, errKeyFile
		}
		out[name] = keys
	}
	return out, nil
}
