// Package lkcli is the command-line tool lk.
//
// [Run] reads the arguments, finds the command in the table of commands.go and
// runs it. Almost every command is data: a method and path of the admin API,
// flags that fill its body and query, columns for people. A test compares each
// of them with the API's OpenAPI document, in both directions, so that tool and
// API cannot drift apart. Code that calls nobody are webhook verify,
// webhook sign, translate, models curated and models import. Two commands are code
// that calls several operations: rotate and vault verify.
//
// Guarantees: the API key goes to the given origin only (redirects are not
// followed) and never in clear text to another machine; a secret is read from
// standard input or a file when asked, and is never printed, not even in an
// error; text from the server is printed without its control characters, so it
// cannot drive a terminal. With --json the standard output is exactly one JSON
// document (webhook verify: one line per request). Answers, files and lines are
// bounded.
//
// The exit code is 0 for done, 1 for refused or failed, 2 for a wrong call.
// Nothing is retried: whether a change may be repeated is for the caller to
// decide, and a change whose outcome is unknown says so.
//
// Limits: a list without --limit is collected in memory before it is printed.
package lkcli

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"
)

// Exit codes.
const (
	ExitDone    = 0
	ExitRefused = 1
	ExitUsage   = 2
)

// Env is the world of one run. Transport may be nil for the default one, and
// Sleep; the other fields are required.
type Env struct {
	Args      []string // without the program's name
	Stdin     io.Reader
	Stdout    io.Writer
	Stderr    io.Writer
	Getenv    func(string) string
	Now       func() time.Time
	Transport http.RoundTripper
	// Sleep waits between two looks at a running job; nil means really.
	Sleep func(time.Duration)
	// Terminal says that a person types standard input.
	Terminal bool
}

// run is one run of the tool.
type run struct {
	Env
	out       bytes.Buffer // of commands that answer as a whole
	asJSON    bool
	stdinUsed bool
}

// usageError is a wrong call. The text never repeats a value, which could be a
// secret in the wrong place.
type usageError struct {
	text string
	// about is the command whose help answers the question, empty for the tool.
	about string
}

func (e *usageError) Error() string { return e.text }

func wrongCall(format string, a ...any) error { return &usageError{text: fmt.Sprintf(format, a...)} }

// Run runs the tool and returns its exit code. It is safe for concurrent use
// with different Envs.
func Run(ctx context.Context, e Env) int {
	r := &run{Env: e, asJSON: asksJSON(e.Args)}
	err := r.dispatch(ctx)
	if _, werr := r.Stdout.Write(r.out.Bytes()); werr != nil && err == nil {
		err = failed("output", "the output could not be written")
	}
	if err == nil {
		return ExitDone
	}
	return r.report(err)
}

// asksJSON looks for --json before anything is parsed, because a call that does
// not parse is answered in the same form.
func asksJSON(args []string) bool {
	for _, a := range args {
		switch a {
		case "--":
			return false
		case "--json", "-json", "--json=true", "-json=true":
			return true
		}
	}
	return false
}

// report prints an error and returns the exit code.
func (r *run) report(err error) int {
	var wrong *usageError
	if errors.As(err, &wrong) {
		help := "lk help"
		if wrong.about != "" {
			help = "lk help " + wrong.about
		}
		fmt.Fprintf(r.Stderr, "lk: %s\nSee: %s\n", wrong.text, help)
		if r.asJSON {
			_, _ = r.Stdout.Write((&failure{Code: "usage", Type: "usage_error", Message: wrong.text}).document())
		}
		return ExitUsage
	}
	var f *failure
	if !errors.As(err, &f) {
		f = failed("failed", err.Error())
	}
	if !f.shown {
		fmt.Fprintf(r.Stderr, "lk: %s\n", f.line())
	}
	if r.asJSON && !f.answered {
		_, _ = r.Stdout.Write(f.document())
	}
	return ExitRefused
}

// dispatch finds the command and runs it, or prints help.
func (r *run) dispatch(ctx context.Context) error {
	var g globals
	words, rest, err := g.leading(r.Args)
	if errors.Is(err, flag.ErrHelp) {
		return r.help(words)
	}
	if err != nil {
		return err
	}
	if len(words) == 0 {
		return wrongCall("say which command")
	}
	if words[0] == "help" {
		return r.help(append(words[1:], rest...))
	}
	c, err := find(words)
	if err != nil {
		return err
	}
	in, err := parse(c, &g, rest)
	if errors.Is(err, flag.ErrHelp) {
		return r.help(strings.Fields(c.name))
	}
	if err == nil {
		in.run = r
		r.asJSON = g.json
		if c.local != nil {
			err = c.local(ctx, in)
		} else {
			err = in.callAPI(ctx)
		}
	}
	var wrong *usageError
	if errors.As(err, &wrong) && wrong.about == "" {
		wrong.about = c.name
	}
	return err
}
