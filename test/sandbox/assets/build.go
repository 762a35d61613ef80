package assets

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"golang.org/x/mod/modfile"
)

// build compiles one command in a scratch module that requires its upstream
// module, and moves the result to its place in the cache.
func (c Cache) build(ctx context.Context, p part, cmd command) error {
	scratch, err := os.MkdirTemp("", "detnet-build-")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(scratch) }() // left over, it is in the way of nothing

	mod, err := scratchModule(ctx, p)
	if err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(scratch, "go.mod"), mod, 0o644); err != nil {
		return err
	}
	pkg := p.module + cmd.path
	if p.module == "" {
		pkg = "."
		if err := os.WriteFile(filepath.Join(scratch, "main.go"), []byte(p.source), 0o644); err != nil {
			return err
		}
	}
	out := c.binary(p, cmd)
	if err := os.MkdirAll(filepath.Dir(out), 0o755); err != nil {
		return err
	}
	temp := fmt.Sprintf("%s.%d", out, os.Getpid())
	defer func() { _ = os.Remove(temp) }() // renamed, unless the build failed
	if _, err := goCommand(ctx, scratch, "build", "-tags", p.tags, "-ldflags", p.ldflags, "-o", temp, pkg); err != nil {
		return err
	}
	return os.Rename(temp, out)
}

// scratchModule writes the go.mod to build p from. Requiring the module,
// instead of `go install module@version`, also works for modules whose own
// go.mod holds replace directives.
func scratchModule(ctx context.Context, p part) ([]byte, error) {
	f := new(modfile.File)
	if err := f.AddModuleStmt("build"); err != nil {
		return nil, err
	}
	if err := f.AddGoStmt("1.26.0"); err != nil {
		return nil, err
	}
	if p.module != "" {
		if err := f.AddRequire(p.module, p.version); err != nil {
			return nil, err
		}
	}
	if p.staged {
		upstream, err := upstreamModule(ctx, p)
		if err != nil {
			return nil, err
		}
		for _, sibling := range stagedSiblings(upstream) {
			if err := f.AddReplace(sibling, "", sibling, stagedVersion(p.version)); err != nil {
				return nil, err
			}
		}
	}
	f.Cleanup()
	return f.Format()
}

// stagedSiblings lists the modules that f requires at v0.0.0.
func stagedSiblings(f *modfile.File) []string {
	var siblings []string
	for _, r := range f.Require {
		if r.Mod.Version == "v0.0.0" {
			siblings = append(siblings, r.Mod.Path)
		}
	}
	return siblings
}

// stagedVersion is the release of Kubernetes' libraries that belongs to
// Kubernetes v1.N.P, which is v0.N.P.
func stagedVersion(kubernetes string) string {
	return "v0." + strings.TrimPrefix(kubernetes, "v1.")
}

func upstreamModule(ctx context.Context, p part) (*modfile.File, error) {
	out, err := goCommand(ctx, os.TempDir(), "mod", "download", "-json", p.module+"@"+p.version)
	if err != nil {
		return nil, err
	}
	var download struct{ GoMod string }
	if err := json.Unmarshal(out, &download); err != nil {
		return nil, fmt.Errorf("read the answer of go mod download: %w", err)
	}
	text, err := os.ReadFile(download.GoMod)
	if err != nil {
		return nil, err
	}
	return modfile.Parse(download.GoMod, text, nil)
}

// goCommand runs the go command with the environment that makes results
// independent of where and by whom they are built.
func goCommand(ctx context.Context, dir string, args ...string) ([]byte, error) {
	cmd := exec.CommandContext(ctx, "go", args...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOFLAGS=-mod=mod -trimpath", "GOWORK=off", "GOOS=linux")
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		return nil, fmt.Errorf("go %s: %w\n%s", args[0], err, lastLines(stderr.String(), 20))
	}
	return stdout.Bytes(), nil
}

func lastLines(s string, n int) string {
	lines := strings.Split(strings.TrimSpace(s), "\n")
	return strings.Join(lines[max(0, len(lines)-n):], "\n")
}
