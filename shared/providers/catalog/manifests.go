package catalog

import "github.com/latchkey/latchkey/shared/credential"

// Manifests lists the declared fields of all vendors.
func Manifests() []credential.Manifest {
	var out []credential.Manifest
	for _, e := range Entries() {
		out = append(out, e.Manifest())
	}
	return out
}
