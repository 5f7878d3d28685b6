package repocheck

import (
	"go/ast"
	"path"
	"slices"
	"strconv"
	"strings"
)

// clientParts are what connections to the outside are made of. A pointer type in
// a signature only carries what egress built and is not among them.
var clientParts = map[string]map[string]bool{
	"net/http": set("Client", "Transport", "DefaultClient", "DefaultTransport", "Get", "Post", "PostForm", "Head", "ProxyFromEnvironment", "ProxyURL", "NewFileTransport", "NewFileTransportFS"),
	"net": set("Dial", "DialTimeout", "Dialer", "DialTCP", "DialUDP", "DialIP", "DialUnix", "ListenPacket", "ListenUDP", "Resolver", "DefaultResolver",
		"LookupHost", "LookupIP", "LookupAddr", "LookupCNAME", "LookupMX", "LookupNS", "LookupSRV", "LookupTXT"),
	"crypto/tls":        set("Dial", "DialWithDialer", "Dialer", "Client"),
	"net/http/httputil": set("ReverseProxy", "NewSingleHostReverseProxy", "NewClientConn", "NewProxyClientConn"),
	"syscall":           set("Socket", "Connect", "Exec", "ForkExec", "StartProcess"),
	"os":                set("StartProcess"),
}

// clientPackages reach the outside, or start programs that do, whatever is used
// of them.
var clientPackages = set("os/exec", "net/rpc", "net/rpc/jsonrpc", "net/smtp", "log/syslog", "plugin")

// clientModules bring HTTP clients or protocols of their own.
var clientModules = []string{"golang.org/x/net/", "golang.org/x/crypto/ssh", "google.golang.org/grpc", "github.com/gorilla/websocket", "nhooyr.io/", "github.com/coder/websocket",
	"github.com/valyala/fasthttp", "github.com/slack-go/", "github.com/openai/", "github.com/go-resty/", "github.com/hashicorp/go-retryablehttp", "code.dny.dev/"}

func set(names ...string) map[string]bool {
	m := make(map[string]bool, len(names))
	for _, n := range names {
		m[n] = true
	}
	return m
}

// httpClients knows one exception: boot tunes the transport of the AWS SDK, whose
// clients no other package than those of awsClients makes.
func httpClients(t *tree, bad func(string, string)) {
	for _, f := range t.files {
		if f.test || under(f.dir, "shared/egress") || suite(f.dir) || !under(f.dir, "shared") && !under(f.dir, "functions") {
			continue
		}
		for _, ip := range f.imports {
			if clientPackages[ip] || slices.ContainsFunc(clientModules, func(m string) bool { return strings.HasPrefix(ip+"/", m) }) {
				bad(f.path, "imports "+ip)
			}
		}
		for pkg, names := range clientParts {
			local := localName(f, pkg)
			if local == "." {
				bad(f.path, "imports "+pkg+" without a name")
			}
			ast.Inspect(f.ast, func(n ast.Node) bool {
				if star, ok := n.(*ast.StarExpr); ok {
					if sel, ok := star.X.(*ast.SelectorExpr); ok && ident(sel.X) == local && (sel.Sel.Name == "Client" || sel.Sel.Name == "Transport") {
						return false
					}
				}
				if sel, ok := n.(*ast.SelectorExpr); ok && local != "" && ident(sel.X) == local && names[sel.Sel.Name] {
					bad(f.path, pkg+"."+sel.Sel.Name)
				}
				return true
			})
		}
	}
}

// localName is the name a file uses for a standard package, "" if it does not
// import it.
func localName(f *file, pkg string) string {
	for _, im := range f.ast.Imports {
		if p, _ := strconv.Unquote(im.Path.Value); p == pkg {
			if im.Name != nil {
				return im.Name.Name
			}
			return path.Base(pkg)
		}
	}
	return ""
}

// awsClients: clients of AWS reach AWS only, but they are clients. They are made
// in boot, from the configuration that is loaded there.
func awsClients(t *tree, bad func(string, string)) {
	for _, f := range t.files {
		if f.test || suite(f.dir) || under(f.dir, "shared/boot") || !under(f.dir, "shared") && !under(f.dir, "functions") {
			continue
		}
		for _, im := range f.ast.Imports {
			ip, _ := strconv.Unquote(im.Path.Value)
			if !strings.HasPrefix(ip, "github.com/aws/aws-sdk-go-v2/") {
				continue
			}
			if strings.HasPrefix(ip, "github.com/aws/aws-sdk-go-v2/config") || strings.HasSuffix(ip, "/transport/http") {
				bad(f.path, "imports "+ip)
			}
			calls(f, ip, func(name string, _ *ast.SelectorExpr) {
				if strings.Contains(ip, "/service/") && (name == "New" || name == "NewFromConfig") {
					bad(f.path, path.Base(ip)+"."+name)
				}
			})
		}
	}
}

// lambdaEntry: what boot puts around an invocation forgets its secrets and keeps
// the Lambda library from printing errors and panics.
func lambdaEntry(t *tree, bad func(string, string)) {
	for _, f := range t.files {
		if f.test || !under(f.dir, "functions") {
			continue
		}
		for _, pkg := range []string{"github.com/aws/aws-lambda-go/lambda", "github.com/aws/aws-lambda-go/lambdaurl"} {
			calls(f, pkg, func(name string, _ *ast.SelectorExpr) {
				if strings.HasPrefix(name, "Start") {
					bad(f.path, path.Base(pkg)+"."+name)
				}
			})
		}
	}
}
