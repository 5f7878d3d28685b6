package repocheck

import "strings"

// leaves may import the standard library and each other.
var leaves = []string{"shared/fault", "shared/secret", "shared/redact", "shared/taxonomy", "shared/table", "shared/config", "shared/topology"}

// outer packages of shared/ may know the platform; everything else below
// shared/ is domain.
var outer = []string{"shared/dynamo", "shared/vault/kmskey", "shared/boot", "shared/trace", "shared/awscall"}

func oneOf(dir string, roots []string) bool {
	for _, r := range roots {
		if under(dir, r) {
			return true
		}
	}
	return false
}

// domain packages hold the product's rules and know neither clock nor
// environment nor AWS.
func domain(dir string) bool { return under(dir, "shared") && !oneOf(dir, outer) && !suite(dir) }

func importRules() []rule {
	return []rule{
		{"layers", "shared/ is what functions, infra and scripts are built from, not the reverse", noUpwards},
		{"functions-apart", "one folder is one Lambda; shared work belongs in shared/", functionsApart},
		{"cdk", "the CDK is 260 MB that only infra/ may pull in", only("infra", func(ip string) bool {
			return strings.HasPrefix(ip, "github.com/aws/aws-cdk-go") || strings.HasPrefix(ip, "github.com/aws/jsii") ||
				strings.HasPrefix(ip, "github.com/aws/constructs-go") || strings.HasPrefix(ip, "github.com/cdklabs")
		})},
		{"vendors-apart", "a vendor's quirks must not bend around another vendor", vendorsApart},
		{"adapters-blind", "an adapter gets a revealed key for one call and knows nothing of money or storage", adaptersBlind},
		{"money-blind", "usage enters the ledger as plain numbers", moneyBlind},
		{"aws-edges", "domain code runs without AWS", awsEdges},
		{"dynamodb", "one package knows the item formats", only("shared/dynamo", func(ip string) bool {
			return strings.HasSuffix(ip, "aws-sdk-go-v2/service/dynamodb")
		}, "shared/boot", "scripts", "shared/credit/ledgertest", "shared/vault/vaulttest")},
		{"attributevalue", "it ignores the guards of the secret type and writes floats", only("nowhere", func(ip string) bool {
			return strings.Contains(ip, "feature/dynamodb/attributevalue")
		})},
		{"xray", "the SDK is to be replaced in one file", only("shared/trace", func(ip string) bool {
			return strings.Contains(ip, "aws-xray-sdk-go")
		})},
		{"suites", "conformance suites and fakes must not reach a Lambda", suitesOnlyInTests},
		{"leaves", "everything imports the leaves, so they import nothing", leavesStdOnly},
		{"integrations-apart", "AI code must not be able to open what an organisation holds for other things", only("shared/integration", func(ip string) bool {
			return under(ours(ip), "shared/integration/opener") || under(ours(ip), "shared/integration/legacycipher")
		}, "functions/rotate", "scripts")},
		{"wiring", "only boot and main packages put implementations together", wiring},
	}
}

func each(t *tree, f func(*file, string)) {
	for _, pf := range t.files {
		for _, ip := range pf.imports {
			f(pf, ip)
		}
	}
}

// only builds a rule: imports that match may stand below root (and extra) and
// in tests.
func only(root string, match func(string) bool, extra ...string) func(*tree, func(string, string)) {
	return func(t *tree, bad func(string, string)) {
		each(t, func(f *file, ip string) {
			if match(ip) && !f.test && !under(f.dir, root) && !oneOf(f.dir, extra) && !suite(f.dir) {
				bad(f.path, "imports "+ip)
			}
		})
	}
}

func noUpwards(t *tree, bad func(string, string)) {
	each(t, func(f *file, ip string) {
		if to := ours(ip); under(f.dir, "shared") && !f.test && !suite(f.dir) &&
			(under(to, "functions") || under(to, "infra") || under(to, "scripts")) {
			bad(f.path, "imports "+to)
		}
	})
}

func functionsApart(t *tree, bad func(string, string)) {
	each(t, func(f *file, ip string) {
		to := ours(ip)
		if under(f.dir, "functions") && under(to, "functions") && element(to, 1) != element(f.dir, 1) {
			bad(f.path, "imports "+to)
		}
	})
}

// vendorFolder returns the vendor of a folder below shared/providers or
// shared/channels, "" for the shared parts of those trees.
func vendorFolder(dir string) string {
	if !under(dir, "shared/providers") && !under(dir, "shared/channels") {
		return ""
	}
	switch v := element(dir, 2); v {
	case "", "internal", "catalog":
		return ""
	default:
		return element(dir, 1) + "/" + v
	}
}

func vendorsApart(t *tree, bad func(string, string)) {
	each(t, func(f *file, ip string) {
		to := vendorFolder(ours(ip))
		if to == "" || vendorFolder(f.dir) == to || f.test && vendorFolder(f.dir) == "" {
			return
		}
		if vendorFolder(f.dir) != "" || !strings.HasSuffix(f.dir, "/catalog") && under(f.dir, "shared") {
			bad(f.path, "imports "+ours(ip))
		}
	})
}

func adaptersBlind(t *tree, bad func(string, string)) {
	blind := []string{"shared/dynamo", "shared/vault", "shared/credit", "shared/billing", "shared/boot", "shared/gateway", "shared/org", "shared/connection", "shared/install"}
	each(t, func(f *file, ip string) {
		if (under(f.dir, "shared/providers") || under(f.dir, "shared/channels")) && !f.test && oneOf(ours(ip), blind) {
			bad(f.path, "imports "+ours(ip))
		}
	})
}

func moneyBlind(t *tree, bad func(string, string)) {
	blind := []string{"shared/model", "shared/speech", "shared/providers", "shared/channels"}
	each(t, func(f *file, ip string) {
		if (under(f.dir, "shared/credit") || under(f.dir, "shared/billing")) && oneOf(ours(ip), blind) {
			bad(f.path, "imports "+ours(ip))
		}
	})
}

func awsEdges(t *tree, bad func(string, string)) {
	each(t, func(f *file, ip string) {
		if domain(f.dir) && !f.test && strings.HasPrefix(ip, "github.com/aws/") {
			// The admin router speaks the HTTP API's event, which is plain data.
			if under(f.dir, "shared/admin") && strings.HasSuffix(ip, "aws-lambda-go/events") {
				return
			}
			// A vendor that is AWS is called with signed requests: the signer
			// computes and does no I/O.
			if under(f.dir, "shared/providers/internal/awssign") && (strings.HasSuffix(ip, "aws-sdk-go-v2/aws") || strings.HasSuffix(ip, "/aws/signer/v4")) {
				return
			}
			bad(f.path, "imports "+ip)
		}
	})
}

func suitesOnlyInTests(t *tree, bad func(string, string)) {
	each(t, func(f *file, ip string) {
		if to := ours(ip); suite(to) && !f.test && !suite(f.dir) && !under(f.dir, "scripts") {
			bad(f.path, "imports "+to)
		}
	})
}

func leavesStdOnly(t *tree, bad func(string, string)) {
	each(t, func(f *file, ip string) {
		if f.test || !oneOf(f.dir, leaves) {
			return
		}
		if to := ours(ip); to != "" && oneOf(to, leaves) || !strings.Contains(element(ip, 0), ".") {
			return
		}
		bad(f.path, "imports "+ip)
	})
}

func wiring(t *tree, bad func(string, string)) {
	built := []string{"shared/dynamo", "shared/vault/kmskey", "shared/providers/catalog", "shared/boot"}
	each(t, func(f *file, ip string) {
		to := ours(ip)
		if f.test || suite(f.dir) || !oneOf(to, built) || under(f.dir, "functions") || under(f.dir, "scripts") ||
			under(f.dir, "shared/boot") || under(f.dir, "shared/dynamo") {
			return
		}
		bad(f.path, "imports "+to)
	})
}
