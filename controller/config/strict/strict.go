// Package strict reads YAML into structs and reports everything that is wrong,
// each with its path in the document and what would be accepted there.
package strict

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"reflect"
	"slices"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/detnet/detnet/bitrate"
)

// ErrUnknown is in the error for a key that the type does not have.
var ErrUnknown = errors.New("is not known here")

// MaxSize is how long a text may be, in octets: what a ConfigMap holds.
const MaxSize = 1 << 20

// ReadFile reads a file that Decode may take, and no more of a longer one than it
// takes to tell.
func ReadFile(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return Read(f)
}

// Read is ReadFile for what is open already.
func Read(from io.Reader) ([]byte, error) { return io.ReadAll(io.LimitReader(from, MaxSize+1)) }

// Documents takes a text of YAML documents apart. Empty ones are left out.
func Documents(text []byte) ([]*yaml.Node, error) {
	if len(text) > MaxSize {
		return nil, fmt.Errorf("the file: must have at most %d bytes, as a ConfigMap", MaxSize)
	}
	var all []*yaml.Node
	for decoder := yaml.NewDecoder(bytes.NewReader(text)); ; {
		var document yaml.Node
		switch err := decoder.Decode(&document); {
		case errors.Is(err, io.EOF):
			return all, nil
		case err != nil:
			return nil, fmt.Errorf("not YAML: %w", err)
		}
		if content := document.Content[0]; content.Kind != yaml.ScalarNode || content.Tag != "!!null" {
			all = append(all, content)
		}
	}
}

// Decode reads text over what the struct behind to holds, whose fields carry
// yaml tags, and reports every error with its path. It walks the document beside
// the type itself, because a YAML library's own errors name lines, not paths, and
// stop at the first.
func Decode(text []byte, to any) []error {
	documents, err := Documents(text)
	switch {
	case err != nil:
		return []error{err}
	case len(documents) == 0:
		return nil // empty, or comments alone
	case len(documents) > 1:
		return []error{at(documents[1], "", "must be one document, another begins here")}
	}
	return walk(documents[0], reflect.ValueOf(to).Elem(), "")
}

func walk(n *yaml.Node, to reflect.Value, path string) []error {
	if n.Kind == yaml.AliasNode {
		return []error{at(n, path, "anchors are not read")}
	}
	switch to.Kind() {
	case reflect.Pointer: // nil: not given
		given := reflect.New(to.Type().Elem())
		to.Set(given)
		return walk(n, given.Elem(), path)
	case reflect.Struct:
		return mapping(n, to, path)
	case reflect.Slice:
		return list(n, to, path)
	}
	return scalar(n, to, path)
}

func list(n *yaml.Node, to reflect.Value, path string) []error {
	if n.Kind == yaml.ScalarNode && n.Tag == "!!null" {
		return nil // all items are commented out
	}
	if n.Kind != yaml.SequenceNode {
		return []error{at(n, path, "must be a list")}
	}
	var errs []error
	items := reflect.MakeSlice(to.Type(), len(n.Content), len(n.Content))
	for i, item := range n.Content {
		errs = append(errs, walk(item, items.Index(i), fmt.Sprintf("%s[%d]", path, i))...)
	}
	to.Set(items)
	return errs
}

func mapping(n *yaml.Node, to reflect.Value, path string) []error {
	if n.Kind == yaml.ScalarNode && n.Tag == "!!null" {
		return nil
	}
	if n.Kind != yaml.MappingNode {
		return []error{at(n, path, "must be a mapping with some of: "+strings.Join(Keys(to.Type()), ", "))}
	}
	var errs []error
	seen := map[string]bool{}
	for i := 0; i < len(n.Content); i += 2 {
		key := n.Content[i]
		below := strings.TrimPrefix(path+"."+key.Value, ".")
		field, ok := Field(to, key.Value)
		switch {
		case !ok:
			errs = append(errs, fmt.Errorf("%s: %w; known are: %s (line %d)", below, ErrUnknown, strings.Join(Keys(to.Type()), ", "), key.Line))
		case seen[key.Value]:
			errs = append(errs, at(key, below, "is given twice"))
		default:
			errs = append(errs, walk(n.Content[i+1], field, below)...)
		}
		seen[key.Value] = true
	}
	return errs
}

// accepted describes what a scalar of each kind may look like.
func accepted(t reflect.Type) string {
	switch t {
	case reflect.TypeFor[time.Duration]():
		return "a duration such as 250ms or 2s"
	case reflect.TypeFor[bitrate.Rate]():
		return "a rate such as 10M or 1G"
	}
	switch t.Kind() {
	case reflect.Int:
		return "a whole number"
	case reflect.Float64:
		return "a number"
	case reflect.Bool:
		return "true or false"
	}
	return "a text"
}

func scalar(n *yaml.Node, to reflect.Value, path string) []error {
	fresh := reflect.New(to.Type())
	// The library would cut 1.5 down to 1.
	fraction := to.Kind() == reflect.Int && n.Tag == "!!float"
	if n.Kind != yaml.ScalarNode || n.Tag == "!!null" || fraction || n.Decode(fresh.Interface()) != nil {
		return []error{at(n, path, fmt.Sprintf("%q must be %s", n.Value, accepted(to.Type())))}
	}
	to.Set(fresh.Elem())
	return nil
}

func at(n *yaml.Node, path, what string) error {
	if path == "" {
		path = "the file"
	}
	return fmt.Errorf("%s: %s (line %d)", path, what, n.Line)
}

// Field returns the field of struct v that a file calls name.
func Field(v reflect.Value, name string) (reflect.Value, bool) {
	for _, f := range Fields(v.Type()) {
		if f.Name == name {
			return v.FieldByIndex(f.Index), true
		}
	}
	return reflect.Value{}, false
}

// Keys are the names of a struct's fields in a file, in their order.
func Keys(t reflect.Type) []string {
	fields := Fields(t)
	names := make([]string, len(fields))
	for i, f := range fields {
		names[i] = f.Name
	}
	return names
}

// Fields are the fields of a struct by their names in a file, in their order; a
// struct that is tagged "inline" stands for its fields, and "-" is in no file.
func Fields(t reflect.Type) []reflect.StructField {
	var all []reflect.StructField
	for i := range t.NumField() {
		f := t.Field(i)
		name, how, _ := strings.Cut(f.Tag.Get("yaml"), ",")
		if name == "-" {
			continue
		}
		if how != "inline" {
			f.Name = name
			all = append(all, f)
			continue
		}
		for _, below := range Fields(f.Type) {
			below.Index = append(slices.Clone(f.Index), below.Index...)
			all = append(all, below)
		}
	}
	return all
}
