package charts

import (
	"bytes"
	"encoding/json"
	"math"
	"os"
	"reflect"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/detnet/detnet/bitrate"
	"github.com/detnet/detnet/controller/config"
	"github.com/detnet/detnet/controller/config/strict"
)

const schemaFile = "detnet/values.schema.json"

// configLine is where the schema of controller.config stands in the chart's.
var configLine = regexp.MustCompile(`(?m)^    "config": .*,$`)

// What controller.config may hold is what the controller reads: the schema is made
// of its types and of the messages of its validation, and refuses at helm upgrade
// what would end the program.
func TestSchemaOfTheConfiguration(t *testing.T) {
	schema := objectSchema(reflect.ValueOf(config.Default()), "")
	// The chart has values of its own for these: the template says which.
	schema["properties"].(map[string]any)["mode"] = true
	schema["properties"].(map[string]any)["law"] = true
	body, err := json.Marshal(schema)
	if err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile(schemaFile)
	if err != nil {
		t.Fatal(err)
	}
	if len(configLine.FindAll(got, -1)) != 1 {
		t.Fatal("no line for the configuration")
	}
	want := configLine.ReplaceAllLiteral(got, []byte(`    "config": `+string(body)+`,`))
	if *update {
		if err := os.WriteFile(schemaFile, want, 0o644); err != nil {
			t.Fatal(err)
		}
	} else if !bytes.Equal(got, want) {
		t.Errorf("%s is not current: go test ./charts -update", schemaFile)
	}
}

func objectSchema(v reflect.Value, path string) map[string]any {
	properties := map[string]any{}
	for _, f := range strict.Fields(v.Type()) {
		field, below := v.FieldByIndex(f.Index), strings.TrimPrefix(path+"."+f.Name, ".")
		if field.Kind() == reflect.Struct {
			properties[f.Name] = objectSchema(field, below)
		} else {
			properties[f.Name] = valueSchema(field, below)
		}
	}
	return map[string]any{"type": []string{"object", "null"}, "additionalProperties": false, "properties": properties}
}

var (
	oneOf   = regexp.MustCompile(`^[a-z]+(, [a-z]+)* or [a-z]+$`)
	between = regexp.MustCompile(`, | or `)
)

func valueSchema(v reflect.Value, path string) map[string]any {
	accepted := acceptedAt(config.Default(), path)
	switch {
	case v.Type() == reflect.TypeFor[time.Duration]():
		return map[string]any{"anyOf": []any{
			map[string]any{"type": []string{"string", "null"}, "pattern": `^(0|([0-9]+(\.[0-9]*)?(ns|us|µs|ms|s|m|h))+)$`},
			map[string]any{"const": 0},
		}}
	case v.Type() == reflect.TypeFor[bitrate.Rate]():
		return map[string]any{"type": []string{"string", "number", "null"}, "pattern": `^[0-9]+(\.[0-9]*)?([numkMGTPE]|[KMGTPE]i|[eE][-+]?[0-9]{1,3})?$`}
	case v.Kind() == reflect.Bool:
		return map[string]any{"type": []string{"boolean", "null"}}
	case v.Kind() == reflect.String && oneOf.MatchString(accepted):
		words := []any{nil}
		for _, word := range between.Split(accepted, -1) {
			words = append(words, word)
		}
		return map[string]any{"enum": words}
	case v.Kind() == reflect.String:
		schema := map[string]any{"type": []string{"string", "null"}}
		for said, pattern := range patterns {
			if strings.HasPrefix(accepted, said) {
				schema["pattern"] = pattern
			}
		}
		return schema
	}
	schema := map[string]any{"type": []string{"number", "null"}}
	if v.Kind() == reflect.Int {
		schema["type"] = []string{"integer", "null"}
	}
	if r, ok := ranges()[path]; ok {
		schema["minimum"], schema["maximum"] = r.Least, r.Most
	}
	return schema
}

// patterns are those of texts, by how validation says what it accepts.
var patterns = map[string]string{
	"empty or an http or https URL": `^([hH][tT][tT][pP][sS]?://([^\s/?#@:%<>"\\^` + "`" + `{|}\[\][:cntrl:]]+|\[[0-9a-fA-F:.]+(%25[-0-9a-zA-Z._~]+)?\])(:[0-9]*)?(/([^\s?#%[:cntrl:]]|%[0-9a-fA-F]{2})*)?)?$`,
	"empty or an absolute path":     "^(/.*)?$",
}

var afterMustBe = regexp.MustCompile(`must be (.*)$`)

// at is the value of a configuration at a path.
func at(c *config.Config, path string) reflect.Value {
	target := reflect.ValueOf(c).Elem()
	for name := range strings.SplitSeq(path, ".") {
		target, _ = strict.Field(target, name)
	}
	return target
}

// acceptedAt provokes the validation with a value that can't be right and returns
// what it says would be.
func acceptedAt(c config.Config, path string) string {
	switch target := at(&c, path); target.Kind() {
	case reflect.Bool:
		return ""
	case reflect.String:
		target.SetString("?")
	case reflect.Float64:
		target.SetFloat(math.NaN())
	default:
		target.SetInt(math.MinInt32)
	}
	for line := range strings.SplitSeq(c.Validate().Error(), "\n") {
		if said := afterMustBe.FindStringSubmatch(line); said != nil && strings.HasPrefix(line, path+":") {
			return said[1]
		}
	}
	return ""
}

// Who mistakes a value is told where it stands and what is wanted there.
func TestHelmSaysWhatIsWanted(t *testing.T) {
	for set, want := range map[string][]string{
		"controller.config.mode=observe":           {"controller.config.mode: set controller.mode"},
		"controller.config.law=aimd":               {"controller.config.law: set controller.law"},
		"controller.config.laws.adaptive.window=5": {"'/controller/config/laws/adaptive/window'", "got number, want"},
		"policy.files.site=x":                      {"'/policy/files'", "'site'"},
		"policy.shadow.site=x":                     {"'/policy/shadow'", "'site'"},
		"image.digests.webhook=sha256:0":           {"'/image/digests'", "'webhook'"},
		"agent.enforce=on":                         {"'/agent/enforce'", "'off', 'tc'"},
	} {
		_, err := helm(t, "template", "detnet", "detnet", "--set", set)
		for _, part := range want {
			if err == nil || !strings.Contains(err.Error(), part) {
				t.Errorf("--set %s: %v lacks %q", set, err, part)
			}
		}
	}
}

// The schema knows what the controller accepts, and what it does not.
func TestConfigurationIsCheckedByHelm(t *testing.T) {
	for set, ok := range map[string]bool{
		"foo=bar": false, "vantages=99": false, "vantages=3": true, "vantages=null": true, "rolloutEvery=soon": false, "rolloutEvery=0": true,
		"rolloutEvery=1h30m": true, "nodes.taint=1m": false, "nodes.bandwidth=yes": false, "prometheus.unit=us": false,
		"prometheus.unit=milliseconds": true, "laws.adaptive.blind=panic": false, "laws.aimd.min=10M": true, "laws.pid.p=1": false, "law=aimd": false, "mode=off": false,
		"laws.adaptive.window=5": false, "laws.adaptive.window=300ms": true,
	} {
		out, err := helm(t, "template", "detnet", "detnet", "--set", "controller.config."+set)
		if (err == nil) != ok {
			t.Errorf("controller.config.%s: %v", set, err)
		}
		if ok && strings.Contains(out, "null\n") {
			t.Errorf("controller.config.%s renders null", set)
		}
	}
}
