package policies

import (
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/open-policy-agent/opa/v1/ast"
	"sigs.k8s.io/yaml"
)

//go:embed default
var embedded embed.FS

// Set is the files of a policy by name: *.rego, *_test.rego and *.yaml (data).
// Data files are merged in the order of their names, the later one winning, so
// that a site's file only holds what it changes.
type Set map[string]string

// Default is the policy set that detnet ships.
func Default() Set {
	set, err := readFS(embedded, "default")
	if err != nil {
		panic(err) // the files are part of the program
	}
	return set
}

// ReadDir reads a directory of policy files, such as a mounted ConfigMap.
func ReadDir(dir string) (Set, error) {
	set, err := readFS(os.DirFS(dir), ".")
	if at := new(fs.PathError); errors.As(err, &at) && at.Path == "." { // it names the directory no better
		err = at.Err
	}
	if err != nil {
		return nil, fmt.Errorf("read policy directory %s: %w", dir, err)
	}
	return set, nil
}

// readFS reads the policy files that lie directly in dir.
func readFS(fsys fs.FS, dir string) (Set, error) {
	entries, err := fs.ReadDir(fsys, dir)
	if err != nil {
		return nil, err
	}
	set := Set{}
	for _, entry := range entries {
		name := entry.Name()
		if strings.HasPrefix(name, ".") || !isPolicyFile(name) {
			continue // kubelet's ..data and ..2026_… among them
		}
		content, err := readFile(fsys, filepath.ToSlash(filepath.Join(dir, name)))
		if err != nil {
			return nil, err
		}
		set[name] = content
	}
	return set, nil
}

// maxFile bounds a file of a set, in bytes: a ConfigMap holds a quarter of it.
const maxFile = 4 << 20

func readFile(fsys fs.FS, path string) (string, error) {
	if about, err := fs.Stat(fsys, path); err != nil {
		return "", err
	} else if about.Mode()&(fs.ModeNamedPipe|fs.ModeDevice|fs.ModeSocket) != 0 { // it may never end
		return "", fmt.Errorf("%s is a pipe, a device or a socket: want a file", path)
	}
	f, err := fsys.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	content, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err == nil && len(content) > maxFile {
		err = fmt.Errorf("%s has more than %d MiB: leave out data that no rule reads", path, maxFile>>20)
	}
	return string(content), err
}

func isPolicyFile(name string) bool {
	return slices.Contains([]string{".rego", ".yaml", ".yml"}, filepath.Ext(name))
}

// Over lays s over base: a file of s replaces the file of base with the same
// name.
func (s Set) Over(base Set) Set {
	out := maps.Clone(base)
	maps.Copy(out, s)
	return out
}

// Hash is a short digest of names and contents.
func (s Set) Hash() string {
	h := sha256.New()
	for _, name := range s.names() {
		fmt.Fprintf(h, "%q %q\n", name, s[name])
	}
	return hex.EncodeToString(h.Sum(nil))[:12]
}

func (s Set) names() []string { return slices.Sorted(maps.Keys(s)) }

// parse returns the modules, tests included, and the merged data.
func (s Set) parse() (map[string]*ast.Module, map[string]any, error) {
	modules := map[string]*ast.Module{}
	data := map[string]any{}
	for _, name := range s.names() {
		if filepath.Ext(name) == ".rego" {
			m, err := ast.ParseModuleWithOpts(name, s[name], ast.ParserOptions{ProcessAnnotation: true})
			if err != nil {
				return nil, nil, s.advise(err)
			}
			if m != nil {
				modules[name] = m
			}
			continue
		}
		var doc map[string]any
		if err := yaml.UnmarshalStrict([]byte(s[name]), &doc); err != nil {
			return nil, nil, unreadable(name, err)
		}
		if _, ok := doc["detnet"]; ok {
			return nil, nil, fmt.Errorf("%w: %s the key \"detnet\" is taken by the rules; use another name for data", ErrPolicy, s.place("detnet"))
		}
		merge(data, doc)
	}
	return modules, data, nil
}

// merge lays from over into, object by object.
func merge(into, from map[string]any) {
	for key, value := range from {
		inner, isObject := value.(map[string]any)
		if base, ok := into[key].(map[string]any); ok && isObject {
			merge(base, inner)
			continue
		}
		into[key] = value
	}
}
