package policies

import (
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"

	"github.com/open-policy-agent/opa/v1/ast"
	corev1 "k8s.io/api/core/v1"
)

// schema is a JSON schema, as far as OPA's type checker reads it. An empty one
// allows anything.
type schema map[string]any

func object(properties map[string]schema) schema {
	return schema{"type": "object", "properties": properties}
}

func listOf(items schema) schema { return schema{"type": "array", "items": items} }

var (
	textual = schema{"type": "string"}
	numeric = schema{"type": "number"}
	boolean = schema{"type": "boolean"}
	keyed   = schema{"type": "object"} // of any keys
)

// inputSchema is the input document, of which docs/reference/policy.md tells. The
// pod's fields are those of the Kubernetes API that this detnet was built with.
func inputSchema() schema {
	asked := map[string]schema{}
	for _, a := range askable {
		asked[a.name] = schema{} // numbers or text
	}
	return object(map[string]schema{
		"pod":       schemaOf(reflect.TypeFor[corev1.Pod]()),
		"namespace": object(map[string]schema{"name": textual, "labels": keyed, "annotations": keyed}),
		"user":      object(map[string]schema{"name": textual, "groups": listOf(textual)}),
		"operation": textual,
		"dryRun":    boolean,
		"workload":  object(map[string]schema{"label": textual, "name": textual, "slug": textual}),
		"ports":     listOf(object(map[string]schema{"port": textual, "protocol": textual})),
		"siblings":  listOf(object(map[string]schema{"name": textual, "egress": numeric})),
		"asks":      object(asked),
	})
}

// schemaOf is the schema of a Kubernetes API type in its JSON form.
func schemaOf(t reflect.Type) schema {
	if t.Kind() == reflect.Pointer {
		return schemaOf(t.Elem())
	}
	// Such types have a form of their own: times, quantities, ports by number or name.
	if own := reflect.TypeFor[json.Marshaler](); t.Implements(own) || reflect.PointerTo(t).Implements(own) {
		return schema{}
	}
	switch t.Kind() {
	case reflect.Struct:
		properties := map[string]schema{}
		addFields(properties, t)
		return object(properties)
	case reflect.Slice:
		if t.Elem().Kind() == reflect.Uint8 {
			return textual // base64
		}
		return listOf(schemaOf(t.Elem()))
	case reflect.Map:
		return keyed
	case reflect.Bool:
		return boolean
	case reflect.String:
		return textual
	default:
		return numeric
	}
}

// addFields adds the fields of a struct, those of embedded ones among them.
func addFields(to map[string]schema, t reflect.Type) {
	for field := range t.Fields() {
		name, _, _ := strings.Cut(field.Tag.Get("json"), ",")
		switch {
		case name != "" && name != "-":
			to[name] = schemaOf(field.Type)
		case field.Anonymous:
			addFields(to, field.Type)
		}
	}
}

// schemas are for OPA's compiler. They hold plain values, as JSON has them.
func schemas() *ast.SchemaSet {
	raw, err := json.Marshal(inputSchema())
	if err != nil {
		panic(err) // it is made of maps and text
	}
	var plain any
	if err := json.Unmarshal(raw, &plain); err != nil {
		panic(err)
	}
	set := ast.NewSchemaSet()
	set.Put(ast.SchemaRootRef, plain)
	return set
}

// elsewhere are fields that other admission policies have, and what detnet's have
// in their place.
var elsewhere = map[string]string{
	"request":    "the input is no AdmissionReview: the pod is input.pod, who creates it input.user, what is done input.operation",
	"review":     "the input is not Gatekeeper's: the pod is input.pod, who creates it input.user, what is done input.operation",
	"parameters": "the input is not Gatekeeper's: put parameters into a YAML file of the policy, whose keys are read as data.KEY",
	"object":     "the pod is input.pod",
	"spec":       "the pod's is input.pod.spec",
	"metadata":   "the pod's is input.pod.metadata",
}

// checkInput finds rules that read what no input has, and so could never fire.
// It compiles a second time, with the input's type: packages that are in the set
// for others' sake have inputs of their own.
func checkInput(modules, compiled map[string]*ast.Module) error {
	own := maps.Clone(modules)
	maps.DeleteFunc(own, func(_ string, m *ast.Module) bool {
		return !m.Package.Path.HasPrefix(rootPackage) && !readFromOutside(m.Package.Path, compiled)
	})
	compiler := newCompiler().WithSchemas(schemas())
	compiler.Compile(own)
	var found []string
	for _, e := range compiler.Errors {
		if err := unknownField(e); err != nil && len(found) < maxErrors {
			found = append(found, err.Error())
		}
	}
	if found == nil {
		return nil
	}
	slices.Sort(found)
	return fmt.Errorf("%w: %s", ErrPolicy, strings.Join(found, "\n"))
}

var rootPackage = ast.MustParseRef("data.detnet")

// unknownField says that a reference leads to no field of the input, whose rule
// could never fire; nil if err is about something else.
func unknownField(err *ast.Error) error {
	detail, ok := err.Details.(*ast.RefErrInvalidDetail)
	if !ok || len(detail.OneOf) == 0 || detail.Pos >= len(detail.Ref) {
		return nil
	}
	var fields []string
	for _, v := range detail.OneOf {
		if s, ok := v.(ast.String); ok {
			fields = append(fields, string(s))
		}
	}
	slices.Sort(fields)
	field, ok := detail.Ref[detail.Pos].Value.(ast.String)
	if !ok {
		return nil
	}
	text := fmt.Sprintf("%s: there is no field %s", detail.Ref[:detail.Pos+1], field)
	tip := didYouMean(string(field), fields)
	if why := elsewhere[string(field)]; tip == "" && why != "" && detail.Ref[:detail.Pos].Equal(ast.InputRootRef) {
		tip = ": " + why
	}
	if tip == "" {
		tip = ", only " + strings.Join(fields, ", ")
	}
	return fmt.Errorf("%s:%d: %s%s", location(err.Location).File, location(err.Location).Row, text, tip)
}
