package policies

import (
	"errors"
	"fmt"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/detnet/detnet/workload"
)

// place is where the set's data says something about path: "site.yaml:3:". The
// file that is merged last counts, then whatever holds the path.
func (s Set) place(path ...string) string {
	for ; len(path) > 0; path = path[:len(path)-1] {
		for _, name := range slices.Backward(s.names()) {
			var doc yaml.Node
			if filepath.Ext(name) == ".rego" || yaml.Unmarshal([]byte(s[name]), &doc) != nil || len(doc.Content) == 0 {
				continue
			}
			if line := lineOf(doc.Content[0], path); line > 0 {
				return fmt.Sprintf("%s:%d:", name, line)
			}
		}
	}
	return "data:"
}

// lineOf is the line of the key that path leads to, 0 if there is none.
func lineOf(node *yaml.Node, path []string) int {
	for i := 0; node.Kind == yaml.MappingNode && i+1 < len(node.Content); i += 2 {
		key, value := node.Content[i], node.Content[i+1]
		if key.Value != path[0] {
			continue
		}
		if len(path) == 1 {
			return key.Line
		}
		return lineOf(value, path[1:])
	}
	return 0
}

var yamlLine = regexp.MustCompile(`yaml: (?:unmarshal errors:\s+)?line (\d+): (.*)`)

// unreadable says what is wrong with a YAML file as file:line: reason.
func unreadable(name string, err error) error {
	m := yamlLine.FindStringSubmatch(err.Error())
	if m == nil {
		return fmt.Errorf("%w: %s: %w", ErrPolicy, name, err)
	}
	advice := ""
	if strings.Contains(m[2], "cannot start any token") {
		advice = ": YAML is indented with spaces, not with tabs"
	}
	return fmt.Errorf("%w: %s:%s: %s%s", ErrPolicy, name, m[1], m[2], advice)
}

// narrow follows the keys at which try fails, so that an error about the whole
// can name its place. A part on its own may lack what the whole has: try must
// accept that.
func narrow(value any, try func(any) error) []string {
	object, _ := value.(map[string]any)
	for _, key := range sortedKeys(object) {
		within := func(v any) error { return try(map[string]any{key: v}) }
		if within(object[key]) == nil {
			continue
		}
		if within(map[string]any{}) != nil { // it is the key itself
			return []string{key}
		}
		return append([]string{key}, narrow(object[key], within)...)
	}
	return nil
}

// didYouMean is advice where word looks like a typing error for one of words.
func didYouMean(word string, words []string) string {
	if best := workload.Closest(word, words); best != "" {
		return fmt.Sprintf(": did you mean %s?", best)
	}
	return ""
}

// plainText drops the package's name that encoding/json puts before an error.
func plainText(err error) error {
	return errors.New(strings.TrimPrefix(err.Error(), "json: "))
}
