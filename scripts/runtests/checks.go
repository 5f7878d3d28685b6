package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

func checkFormat(ctx context.Context, s *suite) error {
	out, err := s.output(ctx, "gofmt", "-l", "functions", "infra", "scripts", "shared")
	if err != nil {
		return errors.New(out)
	}
	if out != "" {
		return fmt.Errorf("not formatted, run gofmt -w: %s", strings.Join(strings.Fields(out), " "))
	}
	return nil
}

func vet(ctx context.Context, s *suite) error {
	return s.command(ctx, "go", "vet", "./functions/...", "./infra/...", "./scripts/...", "./shared/...")
}

// repository always runs: the rules read files that the test cache does not see.
func repository(ctx context.Context, s *suite) error {
	return s.command(ctx, "go", "test", "-count=1", "./scripts/repocheck")
}

func shell(ctx context.Context, s *suite) error {
	if err := s.debian(ctx, "shellcheck", "shellcheck"); err != nil {
		return err
	}
	files := []string{".ci/run"}
	entries, err := os.ReadDir(filepath.Join(s.root, "scripts"))
	if err != nil {
		return err
	}
	for _, e := range entries {
		if info, err := e.Info(); err == nil && info.Mode().IsRegular() && info.Mode()&0o111 != 0 {
			files = append(files, "scripts/"+e.Name())
		}
	}
	return s.command(ctx, "shellcheck", files...)
}

func staticcheck(ctx context.Context, s *suite) error {
	bin, err := s.goTool(ctx, "honnef.co/go/tools/cmd/staticcheck", "v0.8.2")
	if err != nil {
		return err
	}
	return s.command(ctx, bin, "./functions/...", "./infra/...", "./scripts/...", "./shared/...")
}

// vulnerabilities fails for vulnerable code that is reached. It needs a
// database: the public one, or a folder in LATCHKEY_VULNDB.
func vulnerabilities(ctx context.Context, s *suite) error {
	bin, err := s.goTool(ctx, "golang.org/x/vuln/cmd/govulncheck", "v1.8.0")
	if err != nil {
		return err
	}
	args := []string{"./functions/...", "./shared/..."}
	db := os.Getenv("LATCHKEY_VULNDB")
	if db == "" {
		// The development workspace keeps a copy beside the checkout.
		if beside := filepath.Join(filepath.Dir(s.root), "shared", "vulndb"); isDir(beside) {
			db = beside
		}
	}
	if db != "" {
		abs, err := filepath.Abs(db)
		if err != nil {
			return err
		}
		args = append([]string{"-db", "file://" + abs}, args...)
	}
	out, err := s.output(ctx, bin, args...)
	if err == nil {
		return nil
	}
	if db == "" && strings.Contains(out, "vuln.go.dev") {
		fmt.Println("the vulnerability database is not reachable and LATCHKEY_VULNDB is not set: not checked")
		return nil
	}
	return errors.New(out)
}

func isDir(p string) bool {
	info, err := os.Stat(p)
	return err == nil && info.IsDir()
}
