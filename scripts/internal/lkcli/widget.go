package lkcli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"html"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/latchkey/latchkey/shared/channels/web"
	"github.com/latchkey/latchkey/shared/secret"
	"github.com/latchkey/latchkey/shared/table"
	"github.com/latchkey/latchkey/shared/webhook"
	"github.com/latchkey/latchkey/shared/widget"
)

func widgetCommands() []command {
	secretFlag, install := plain(hidden, "secret", "the install's widget_secret").must(), plain(text, "install", "the install").must()
	visitor := plain(text, "visitor", "your id of the person, printable ASCII without spaces").must()
	return []command{
		{name: "widget token", about: "make a visitor's token, as your server does", local: widgetToken,
			examples: []string{"lk widget token --secret @widget.txt --install i1a2b3 --visitor ada"},
			flags:    []option{secretFlag, install, visitor, plain(integer, "minutes", "how long it is good for, 1 to 1440, default 60")}},
		{name: "widget page", about: "serve an example page with the chat on this machine, with tokens for one visitor, until Ctrl-C", local: widgetPage,
			examples: []string{"lk widget page --secret @widget.txt --install i1a2b3 --visitor ada --port 8799 --url http://127.0.0.1:8787"},
			flags:    []option{secretFlag, install, visitor, plain(integer, "port", "of this machine, default 8799; http://localhost:PORT must be one of allowed_origins")}},
	}
}

// visitorOf reads what both commands name.
func (in *invocation) visitorOf() (install, visitor string, key secret.Text, err error) {
	install, visitor = in.text("install"), in.text("visitor")
	if !table.ValidID(install) {
		return "", "", key, wrongCall("--install is not an id")
	}
	if !webhook.ValidVisitor(visitor) {
		return "", "", key, wrongCall("--visitor is 1 to %d printable ASCII characters without spaces", webhook.MaxVisitor)
	}
	key, err = in.secretText("secret", in.text("secret"))
	return install, visitor, key, err
}

// whole reads a flag within bounds.
func (in *invocation) whole(name string, otherwise, least, most int) (int, error) {
	if !in.has(name) {
		return otherwise, nil
	}
	n, err := strconv.Atoi(in.text(name))
	if err != nil || n < least || n > most {
		return 0, wrongCall("--%s is a number from %d to %d", name, least, most)
	}
	return n, nil
}

func minted(install, visitor string, key secret.Text, now time.Time, life time.Duration) (string, error) {
	token, err := web.Scheme().Mint(install, visitor, key, now, life)
	if err != nil {
		return "", failed("failed", "there is no token: the secret has to be the install's widget_secret, of 32 bytes and more")
	}
	return token, nil
}

// widgetToken is lk widget token.
func widgetToken(_ context.Context, in *invocation) error {
	install, visitor, key, err := in.visitorOf()
	if err != nil {
		return err
	}
	minutes, err := in.whole("minutes", 60, 1, 1440)
	if err != nil {
		return err
	}
	life := time.Duration(minutes) * time.Minute
	token, err := minted(install, visitor, key, in.Now(), life)
	if err != nil {
		return err
	}
	if in.json {
		in.out.Write(encode(map[string]any{"token": token, "expires_at": in.Now().Add(life).UTC().Format(time.RFC3339)}))
		return nil
	}
	fmt.Fprintln(&in.out, token)
	return nil
}

// widgetPage is lk widget page.
func widgetPage(ctx context.Context, in *invocation) error {
	install, visitor, key, err := in.visitorOf()
	if err != nil {
		return err
	}
	if _, err := minted(install, visitor, key, in.Now(), time.Hour); err != nil {
		return err
	}
	port, err := in.whole("port", 8799, 0, 65535)
	if err != nil {
		return err
	}
	base := in.url
	if base == "" {
		base = in.Getenv("LATCHKEY_URL")
	}
	u, err := url.Parse(base)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		return wrongCall("--url or LATCHKEY_URL is where the script is served, as http://127.0.0.1:8787")
	}
	l, err := net.Listen("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
	if err != nil {
		return failed("failed", "the port is in use: choose another one with --port, and allow its origin")
	}
	address := fmt.Sprintf("http://localhost:%d", l.Addr().(*net.TCPAddr).Port)
	_, _ = fmt.Fprintf(in.Stdout, "%s shows the chat as %s; allowed_origins has to list that address. Ctrl-C ends it.\n", address, clean(visitor))
	token := func() (string, error) { return minted(install, visitor, key, in.Now(), time.Hour) }
	server := &http.Server{Handler: examplePage(u.Scheme+"://"+u.Host, install, token), ReadHeaderTimeout: 5 * time.Second}
	stop := context.AfterFunc(ctx, func() { _ = server.Close() })
	defer stop()
	if err := server.Serve(l); !errors.Is(err, http.ErrServerClosed) {
		return failed("failed", "the page cannot be served any more")
	}
	return nil
}

// examplePage is an organisation's page under a strict policy, and the tokens of who is
// signed in there.
func examplePage(base, install string, token func() (string, error)) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /chat-token", func(w http.ResponseWriter, r *http.Request) {
		// A page of another site must not get it; its browser says who asks.
		if s := r.Header.Get("Sec-Fetch-Site"); s != "" && s != "same-origin" || !strings.HasPrefix(r.Host, "localhost:") {
			w.WriteHeader(http.StatusForbidden)
			return
		}
		t, err := token()
		if err != nil {
			w.WriteHeader(http.StatusInternalServerError)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		w.Header().Set("Cache-Control", "no-store")
		_ = json.NewEncoder(w).Encode(map[string]string{"token": t})
	})
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		w.Header().Set("Content-Security-Policy", "default-src 'none'; script-src "+base+"; connect-src 'self' "+base)
		_, _ = fmt.Fprintf(w, "<!doctype html>\n<html lang=\"en\"><meta charset=\"utf-8\"><title>A page of yours</title><h1>A page of yours</h1>\n<p>The chat is in the corner.</p>\n"+
			"<script src=\"%s%s\" data-install=\"%s\" data-token-url=\"/chat-token\" data-greeting=\"How can we help?\"></script>\n</html>\n", html.EscapeString(base), widget.Path, install)
	})
	return mux
}
