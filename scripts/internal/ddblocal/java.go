package ddblocal

import (
	"context"
	"crypto/sha256"
	_ "embed" // the launcher's source
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
)

//go:embed Launcher.java
var launcherSource string

const minJava = 17

const installJava = "install a JDK 17 or newer (Debian and Ubuntu: apt-get install openjdk-17-jdk-headless)"

// ErrJava reports that no usable JDK was found.
var ErrJava = errors.New("ddblocal: no usable JDK")

// ErrNotInstalled reports that the emulator folder holds no engine.
var ErrNotInstalled = errors.New("ddblocal: DynamoDB Local is not installed")

var javaVersion = regexp.MustCompile(`version "(\d+)(?:\.(\d+))?`)

// findJava resolves the executable; empty means the one on the PATH.
func findJava(java string) (string, error) {
	if java == "" {
		java = "java"
	}
	path, err := exec.LookPath(java)
	if err != nil {
		return "", fmt.Errorf("%w: %s was not found: %s", ErrJava, java, installJava)
	}
	return path, nil
}

// javaProblem explains why java failed, or returns fallback when nothing is
// wrong with the installation. It runs only after a failure: asking for the
// version costs a tenth of a second.
func javaProblem(ctx context.Context, java string, fallback error) error {
	out, err := exec.CommandContext(ctx, java, "-version").CombinedOutput()
	if err != nil {
		return fmt.Errorf("%w: %s does not run: %s", ErrJava, java, installJava)
	}
	major := parseJavaVersion(string(out))
	if major > 0 && major < minJava {
		return fmt.Errorf("%w: %s is version %d: %s", ErrJava, java, major, installJava)
	}
	if exec.CommandContext(ctx, java, "--describe-module", "jdk.compiler").Run() != nil {
		return fmt.Errorf("%w: %s is a runtime without the compiler module: %s", ErrJava, java, installJava)
	}
	return fallback
}

// parseJavaVersion reads the major version from `java -version`; 0 if the text
// is not understood. Version 8 and older call themselves 1.8.
func parseJavaVersion(text string) int {
	m := javaVersion.FindStringSubmatch(text)
	if m == nil {
		return 0
	}
	major, _ := strconv.Atoi(m[1])
	if major == 1 && m[2] != "" {
		major, _ = strconv.Atoi(m[2])
	}
	return major
}

func classPath(emulator string) string {
	return filepath.Join(emulator, "DynamoDBLocal.jar") + string(os.PathListSeparator) +
		filepath.Join(emulator, "DynamoDBLocal_lib", "*")
}

// compiledLauncher returns a directory holding Launcher.class, compiling it
// when this source was not compiled before. Running the source file directly
// would cost 1.2 s more at every start.
func compiledLauncher(ctx context.Context, java, emulator, cache string) (string, error) {
	sum := sha256.Sum256([]byte(launcherSource))
	dir := filepath.Join(cache, "ddblocal-"+hex.EncodeToString(sum[:8]))
	if _, err := os.Stat(filepath.Join(dir, "Launcher.class")); err == nil {
		return dir, nil
	}
	if err := os.MkdirAll(cache, 0o755); err != nil {
		return "", fmt.Errorf("ddblocal: cache directory: %w", err)
	}
	tmp, err := os.MkdirTemp(cache, "compile-")
	if err != nil {
		return "", fmt.Errorf("ddblocal: cache directory: %w", err)
	}
	defer os.RemoveAll(tmp)
	source := filepath.Join(tmp, "Launcher.java")
	if err := os.WriteFile(source, []byte(launcherSource), 0o644); err != nil {
		return "", fmt.Errorf("ddblocal: cache directory: %w", err)
	}
	cmd := exec.CommandContext(ctx, java, "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-m", "jdk.compiler/com.sun.tools.javac.Main",
		"--release", strconv.Itoa(minJava), "-cp", classPath(emulator), "-d", tmp, source)
	if out, err := cmd.CombinedOutput(); err != nil {
		if ctx.Err() != nil {
			return "", ctx.Err()
		}
		return "", javaProblem(ctx, java, fmt.Errorf("ddblocal: compiling the launcher: %w: %s", err, tail(string(out))))
	}
	if err := os.Rename(tmp, dir); err != nil {
		// Another process finished first: its result is the same.
		if _, statErr := os.Stat(filepath.Join(dir, "Launcher.class")); statErr == nil {
			return dir, nil
		}
		return "", fmt.Errorf("ddblocal: cache directory: %w", err)
	}
	return dir, nil
}

// tail keeps an error message on one readable line.
func tail(text string) string {
	text = strings.Join(strings.Fields(text), " ")
	if len(text) > 400 {
		text = "…" + text[len(text)-400:]
	}
	return text
}
