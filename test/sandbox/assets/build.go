package assets

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/mod/modfile"
)

// build makes one command and moves it to its place in the cache.
func (c Cache) build(ctx context.Context, p part, cmd command) error {
	out := c.binary(p, cmd)
	if err := os.MkdirAll(filepath.Dir(out), 0o755); err != nil {
		return err
	}
	temp := fmt.Sprintf("%s.%d", out, os.Getpid())
	defer func() { _ = os.RemoveAll(temp) }() // renamed, unless the build failed
	produce := compile
	if cmd.tree {
		produce = copyTree
	}
	if err := produce(ctx, p, cmd, temp); err != nil {
		return err
	}
	return os.Rename(temp, out)
}

// copyTree copies a folder of the module's sources.
func copyTree(ctx context.Context, p part, cmd command, out string) error {
	d, err := upstream(ctx, p)
	if err != nil {
		return err
	}
	return os.CopyFS(out, os.DirFS(d.Dir+cmd.path))
}

// compile builds the command in a scratch module that requires its upstream
// module.
func compile(ctx context.Context, p part, cmd command, out string) error {
	scratch, err := os.MkdirTemp("", "detnet-build-")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(scratch) }() // left over, it is in the way of nothing

	mod, sums, err := scratchModule(ctx, p)
	if err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(scratch, "go.mod"), mod, 0o644); err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(scratch, "go.sum"), sums, 0o644); err != nil {
		return err
	}
	pkg := p.module + cmd.path
	if p.module == "" {
		pkg = "."
		if err := os.WriteFile(filepath.Join(scratch, "main.go"), []byte(p.source), 0o644); err != nil {
			return err
		}
	}
	_, err = goCommand(ctx, scratch, "build", "-tags", p.tags, "-ldflags", p.ldflags, "-o", out, pkg)
	return err
}

// scratchModule writes the go.mod and go.sum to build p from. Requiring the
// module, instead of `go install module@version`, also works for modules whose
// own go.mod holds replace directives.
func scratchModule(ctx context.Context, p part) (mod, sums []byte, err error) {
	f := new(modfile.File)
	if err := f.AddModuleStmt("build"); err != nil {
		return nil, nil, err
	}
	if err := f.AddGoStmt("1.26.0"); err != nil {
		return nil, nil, err
	}
	if p.module != "" {
		if err := f.AddRequire(p.module, p.version); err != nil {
			return nil, nil, err
		}
	}
	if p.staged || p.forked {
		if sums, err = adopt(ctx, p, f); err != nil {
			return nil, nil, err
		}
	}
	f.Cleanup()
	mod, err = f.Format()
	return mod, sums, err
}

// adopt takes over into f what upstream's go.mod can't say to those who require
// it, and returns the checksums that go with that.
func adopt(ctx context.Context, p part, f *modfile.File) (sums []byte, err error) {
	d, err := upstream(ctx, p)
	if err != nil {
		return nil, err
	}
	text, err := os.ReadFile(d.GoMod)
	if err != nil {
		return nil, err
	}
	theirs, err := modfile.Parse(d.GoMod, text, nil)
	if err != nil {
		return nil, err
	}
	if err := replace(p, f, theirs); err != nil {
		return nil, err
	}
	if !p.forked {
		return nil, nil
	}
	return os.ReadFile(filepath.Join(d.Dir, "go.sum"))
}

// replace gives f the replacements that building p takes.
func replace(p part, f, theirs *modfile.File) error {
	if p.staged {
		for _, sibling := range stagedSiblings(theirs) {
			if err := f.AddReplace(sibling, "", sibling, stagedVersion(p.version)); err != nil {
				return err
			}
		}
	}
	if p.forked {
		for _, r := range theirs.Replace {
			if err := f.AddReplace(r.Old.Path, r.Old.Version, r.New.Path, r.New.Version); err != nil {
				return err
			}
		}
	}
	for _, path := range slices.Sorted(maps.Keys(p.instead)) {
		if err := f.AddReplace(path, "", path, p.instead[path]); err != nil {
			return err
		}
	}
	return nil
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

// download is where the module cache has a module.
type download struct{ Dir, GoMod string }

func upstream(ctx context.Context, p part) (d download, err error) {
	out, err := goCommand(ctx, os.TempDir(), "mod", "download", "-json", p.module+"@"+p.version)
	if err != nil {
		return d, err
	}
	if err := json.Unmarshal(out, &d); err != nil {
		return d, fmt.Errorf("read the answer of go mod download: %w", err)
	}
	return d, nil
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
