package charts

import (
	"fmt"
	"maps"
	"math"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"pgregory.net/rapid"
	"sigs.k8s.io/yaml"

	"github.com/detnet/detnet/bitrate"
	"github.com/detnet/detnet/controller/config"
	"github.com/detnet/detnet/controller/config/strict"
	"github.com/detnet/detnet/policies/live"

	corev1 "k8s.io/api/core/v1"
)

const rangesFile = "detnet/files/ranges.yaml"

// span is what the controller takes at a path of its configuration: seconds, bit/s, or
// the number itself.
type span struct {
	Accepted string  `json:"accepted"`
	Unit     string  `json:"unit"` // duration, rate or number
	Zero     bool    `json:"zero,omitempty"`
	Least    float64 `json:"least"`
	Most     float64 `json:"most"`
	Default  float64 `json:"default"`
	// Over is the path of the value that this one must not be below, and More that it
	// must be above it.
	Over        string  `json:"over,omitempty"`
	OverDefault float64 `json:"overDefault,omitempty"`
	More        bool    `json:"more,omitempty"`
}

// size is a value in the unit of its span.
func size(v reflect.Value) float64 {
	switch x := v.Interface().(type) {
	case time.Duration:
		return x.Seconds()
	case float64:
		return x
	}
	return float64(v.Int())
}

// set gives a value the size.
func set(v reflect.Value, size float64) {
	switch v.Interface().(type) {
	case time.Duration:
		v.SetInt(int64(math.Round(size * float64(time.Second))))
	case float64:
		v.SetFloat(size)
	default:
		v.SetInt(int64(size))
	}
}

// written is a size of a unit as a user writes it, to the digit.
func written(unit string, size float64) any {
	switch unit {
	case "duration":
		return time.Duration(math.Round(size * float64(time.Second))).String()
	case "rate":
		return strconv.FormatInt(int64(size), 10)
	}
	return size
}

// ranges asks the validation of every value that has a range for it. What bounds one
// value by another is found by trying: all are at their least, and one at its most.
var ranges = sync.OnceValue(func() map[string]span {
	all := map[string]span{}
	lowest := config.Default()
	for range 3 { // those whose least was another's default come down with it
		for _, path := range valuePaths(reflect.TypeFor[config.Config](), "") {
			if s, ok := spanOf(acceptedAt(lowest, path), at(&lowest, path).Type()); ok {
				all[path] = s
				set(at(&lowest, path), s.Least)
			}
		}
	}
	set(at(&lowest, "prometheus.maxAge"), all["prometheus.maxAge"].Most) // above the other's least, and so of no say
	defaults := config.Default()
	for path, s := range all {
		s.Default = size(at(&defaults, path))
		for over, other := range all {
			c := lowest
			low := max(s.Least, other.Least)
			set(at(&c, over), other.Most)
			set(at(&c, path), low)
			if over == path || other.Unit != s.Unit || low > min(s.Most, other.Most) || !refuses(c, path) {
				continue
			}
			set(at(&c, over), low)
			s.Over, s.OverDefault, s.More = over, size(at(&defaults, over)), refuses(c, path)
		}
		all[path] = s
	}
	return all
})

func refuses(c config.Config, path string) bool {
	err := c.Validate()
	return err != nil && strings.Contains("\n"+err.Error(), "\n"+path+":")
}

func valuePaths(t reflect.Type, path string) (all []string) {
	for _, f := range strict.Fields(t) {
		below := strings.TrimPrefix(path+"."+f.Name, ".")
		if f.Type.Kind() == reflect.Struct {
			all = append(all, valuePaths(f.Type, below)...)
		} else {
			all = append(all, below)
		}
	}
	return all
}

var fromTo = regexp.MustCompile(`^(0s or )?from (\S+) to (\S+)$`)

func spanOf(accepted string, t reflect.Type) (span, bool) {
	bounds := fromTo.FindStringSubmatch(accepted)
	if bounds == nil {
		return span{}, false
	}
	s := span{Accepted: accepted, Unit: "number", Zero: bounds[1] != ""}
	parse := func(text string) float64 {
		var err error
		var size float64
		switch t {
		case reflect.TypeFor[time.Duration]():
			var d time.Duration
			d, err = time.ParseDuration(text)
			s.Unit, size = "duration", d.Seconds()
		case reflect.TypeFor[bitrate.Rate]():
			var r bitrate.Rate
			r, err = bitrate.Parse(text)
			s.Unit, size = "rate", float64(r)
		default:
			size, err = strconv.ParseFloat(text, 64)
		}
		if err != nil {
			panic(fmt.Sprintf("%s: %v", accepted, err))
		}
		return size
	}
	s.Least, s.Most = parse(bounds[2]), parse(bounds[3])
	return s, true
}

// The chart has the ranges that the controller has: of durations and rates, which a schema
// can't compare, and of numbers that are held to another.
func TestRangesAreTheControllers(t *testing.T) {
	told := maps.Clone(ranges())
	maps.DeleteFunc(told, func(_ string, s span) bool { return s.Unit == "number" && s.Over == "" })
	body, err := yaml.Marshal(told)
	if err != nil {
		t.Fatal(err)
	}
	want := "# What controller.config takes where values.schema.json can't say it: seconds, bit/s and numbers.\n" +
		"# Made by go test ./charts -update.\n" + string(body)
	if *update {
		if err := os.WriteFile(rangesFile, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if got, err := os.ReadFile(rangesFile); err != nil || string(got) != want {
		t.Errorf("%s is not current (%v): go test ./charts -update", rangesFile, err)
	}
}

// nested is a value at a path.
func nested(into map[string]any, path string, value any) map[string]any {
	at := into
	names := strings.Split(path, ".")
	for _, name := range names[:len(names)-1] {
		below, _ := at[name].(map[string]any)
		if below == nil {
			below = map[string]any{}
			at[name] = below
		}
		at = below
	}
	at[names[len(names)-1]] = value
	return into
}

// renderConfig is what helm makes of a configuration in the values.
func renderConfig(t *testing.T, c map[string]any) (string, error) {
	t.Helper()
	file := t.TempDir() + "/values.yaml"
	body, err := yaml.Marshal(map[string]any{"controller": map[string]any{"config": c}})
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, body, 0o600); err != nil {
		t.Fatal(err)
	}
	out, err := helm(t, "template", "detnet", "detnet", "--values", file, "--show-only", "templates/controller/config.yaml")
	if err != nil {
		return "", err
	}
	var configMap corev1.ConfigMap
	if err := yaml.UnmarshalStrict([]byte(out), &configMap); err != nil {
		t.Fatal(err)
	}
	return configMap.Data["config.yaml"], nil
}

// read is what the controller says of a configuration.
func read(t *testing.T, c map[string]any) error {
	t.Helper()
	body, err := yaml.Marshal(c)
	if err != nil {
		t.Fatal(err)
	}
	_, err = config.Parse(body, config.Default())
	return err
}

// At the limits of every range Helm lets a configuration through, and the controller takes
// what comes of it.
func TestLimitsOfTheRangesAreTaken(t *testing.T) {
	for name, bound := range map[string]func(span) float64{
		"least": func(s span) float64 { return s.Least },
		"most":  func(s span) float64 { return s.Most },
		"zero":  func(s span) float64 { return 0 },
	} {
		c := map[string]any{}
		for path, s := range ranges() {
			if name == "zero" && !s.Zero {
				continue
			}
			nested(c, path, written(s.Unit, bound(s)))
		}
		nested(c, "prometheus.maxAge", written("duration", ranges()["prometheus.maxAge"].Most)) // it is to be above another
		text, err := renderConfig(t, c)
		if err != nil {
			t.Fatalf("%s: helm refuses it: %v", name, err)
		}
		if _, err := config.Parse([]byte(text), config.Default()); err != nil {
			t.Errorf("%s: helm lets it through and the controller refuses it: %v", name, err)
		}
	}
}

// Beyond them each is refused by both, by its path; and so is what is below the value that
// it is held to.
func TestBeyondTheRangesIsRefused(t *testing.T) {
	step := map[string]float64{"duration": 1e-6, "rate": 1, "number": 0.001}
	for _, numbers := range []bool{false, true} { // the schema speaks first
		below, above, crossed := map[string]any{}, map[string]any{}, map[string]any{}
		for path, s := range ranges() {
			if (s.Unit == "number") != numbers {
				continue
			}
			for _, beyond := range []struct {
				all  map[string]any
				size float64
			}{{below, s.Least - step[s.Unit]}, {above, s.Most + max(step[s.Unit], s.Most*1e-6)}} {
				value := written(s.Unit, beyond.size)
				nested(beyond.all, path, value)
				if err := read(t, nested(map[string]any{}, path, value)); err == nil || !strings.Contains(err.Error(), path+":") {
					t.Errorf("%s: the controller takes %v: %v", path, value, err)
				}
			}
		}
		for name, c := range map[string]map[string]any{"below": below, "above": above} {
			for path, s := range ranges() {
				if beneath := name == "below" && s.Least <= 0; (s.Unit == "number") == numbers && beneath {
					nested(c, path, nil) // no form has less than nothing
				}
			}
			_, err := renderConfig(t, c)
			for path, s := range ranges() {
				said := "controller.config." + path + ":"
				if numbers {
					said = "'/controller/config/" + strings.ReplaceAll(path, ".", "/") + "'"
				}
				if (s.Unit == "number") == numbers && !(name == "below" && s.Least <= 0) && (err == nil || !strings.Contains(err.Error(), said)) {
					t.Errorf("%s: helm does not refuse what is %s its range: %.2000v", path, name, err)
				}
			}
		}
		for path, s := range ranges() {
			if (s.Unit == "number") != numbers || s.Over == "" {
				continue
			}
			high := min(ranges()[s.Over].Most, s.Most)
			nested(crossed, s.Over, written(s.Unit, high))
			low := high
			if !s.More {
				low -= max(step[s.Unit], high*1e-6)
			}
			nested(crossed, path, written(s.Unit, low))
		}
		_, err := renderConfig(t, crossed)
		both := read(t, crossed)
		for path, s := range ranges() {
			if (s.Unit == "number") == numbers && s.Over != "" {
				if err == nil || !strings.Contains(err.Error(), "controller.config."+path+":") || both == nil {
					t.Errorf("%s: below %s: helm: %v; the controller: %v", path, s.Over, err, both)
				}
			}
		}
	}
	if held := slices.Collect(maps.Keys(ranges())); len(held) < 30 {
		t.Errorf("%d ranges were found: %v", len(held), held)
	}
}

// patternAt is that of a value in the schema.
func patternAt(t *testing.T, path ...string) string {
	t.Helper()
	body, err := os.ReadFile(schemaFile)
	if err != nil {
		t.Fatal(err)
	}
	var schema map[string]any
	if err := yaml.Unmarshal(body, &schema); err != nil {
		t.Fatal(err)
	}
	for _, name := range path {
		schema, _ = schema[name].(map[string]any)
	}
	pattern, _ := schema["pattern"].(string)
	if pattern == "" {
		t.Fatalf("%v has no pattern", path)
	}
	return pattern
}

// misread is an address in brackets that is none: no pattern of a bearable length tells it, and a
// template does (TestHelmReadsAddressesAsGoDoes).
func misread(text string) bool {
	scheme, inside, found := strings.Cut(text, "://[")
	inside, _, _ = strings.Cut(inside, "]")
	addr, err := netip.ParseAddr(strings.Replace(inside, "%25", "%", 1))
	return found && !strings.Contains(scheme, "/") && (err != nil || addr.Is4())
}

// Helm takes for an address what Go does: nothing that ends a program later, and none that is good.
func TestHelmReadsAddressesAsGoDoes(t *testing.T) {
	var urls []string
	for _, host := range []string{
		"::", "::1", "1::", "2001:db8::1", "1:2:3:4:5:6:7:8", "1:2:3:4:5:6:7::", "::2:3:4:5:6:7:8", "::ffff:192.0.2.1", "::192.0.2.1", "64:ff9b::192.0.2.255",
		"1:2:3:4:5:6:192.0.2.1", "1::6:192.0.2.1", "fe80::1%25eth0", "::ffff:192.0.2.1%25br-lan.100", "FE80::ABCD%251",
		":", ":::", "1", "1:2", "1:2:3:4:5:6:7", "1:2:3:4:5:6:7:8:9", "1:2:3:4:5:6:7:8::", "1::2::3", "12345::", ":1::", "1::2:", "192.0.2.1", "::192.0.2", "::192.0.2.256",
		"::192.0.2.01", "::192.0.2.1.1", "192.0.2.1::", "1:2:3:4:5:6:7:192.0.2.1", "1:2:3:4:5:6::192.0.2.1", "::.", "1:2:3:4:5:192.0.2.1", "fe80::1.2.3", "192.0.2.1%25eth0",
	} {
		urls = append(urls, "http://["+host+"]/")
	}
	drawn := rapid.StringMatching(`[hH]ttps?://\[([0-9a-fA-F]{0,5}:){1,8}(:?[0-9a-f]{1,4}|([0-9]{1,3}\.){3}[0-9]{1,3})?(%25[-a-z0-9._~]{1,4})?\](:[0-9]{0,5})?(//\[x)?`)
	for i := range 500 {
		urls = append(urls, drawn.Example(i))
	}
	urls = append(urls, "http://host//[x", "http://host", "")
	dir := t.TempDir()
	helpers, err := os.ReadFile("detnet/templates/_helpers.tpl")
	if err != nil {
		t.Fatal(err)
	}
	values, err := yaml.Marshal(map[string]any{"urls": urls})
	if err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{
		"Chart.yaml": "apiVersion: v2\nname: detnet\nversion: 0.0.0\n", "values.yaml": string(values), "templates/_helpers.tpl": string(helpers),
		"templates/urls.yaml": `refused: [{{ range .Values.urls }}{{ include "detnet.noAddress" . | quote }}, {{ end }}]`,
	} {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	out, err := helm(t, "template", "detnet", dir)
	if err != nil {
		t.Fatal(err)
	}
	var got struct{ Refused []string }
	if err := yaml.Unmarshal([]byte(out), &got); err != nil || len(got.Refused) != len(urls) {
		t.Fatalf("%d of %d URLs: %v", len(got.Refused), len(urls), err)
	}
	good := 0
	for i, text := range urls {
		u, err := url.Parse(text)
		if err == nil && strings.HasPrefix(u.Host, "[") {
			good++
		}
		if (err == nil) != (got.Refused[i] == "") {
			t.Errorf("%q: Go says %v, helm %q", text, err, got.Refused[i])
		}
	}
	if good < 30 || good > len(urls)-30 {
		t.Errorf("%d of %d URLs are good", good, len(urls))
	}
}

// What the schema lets through as a URL or a path, the programs take.
func TestTextsOfTheSchemaAreTaken(t *testing.T) {
	field := func(name string) []string {
		return []string{"definitions", "config", "properties", "prometheus", "properties", name}
	}
	url, path, bundle := patternAt(t, field("url")...), patternAt(t, field("tokenFile")...), patternAt(t, "properties", "policy", "properties", "bundle", "properties", "url")
	rapid.Check(t, func(t *rapid.T) {
		c := config.Default()
		c.Prometheus.URL = rapid.StringMatching(url).Filter(func(s string) bool { return !misread(s) }).Draw(t, "URL")
		if err := c.Validate(); err != nil {
			t.Error(err)
		}
		c.Prometheus.URL, c.Prometheus.TokenFile = "https://prometheus", rapid.StringMatching(path).Draw(t, "path")
		if err := c.Validate(); err != nil {
			t.Error(err)
		}
		if text := rapid.StringMatching(bundle).Draw(t, "bundle"); text != "" && !misread(text) && !live.ValidURL(text) {
			t.Errorf("the webhook refuses %q", text)
		}
	})
}

// What the programs refuse of URLs and intervals, helm does, with the value's name.
func TestHelmRefusesWhatEndsPrograms(t *testing.T) {
	const config, bundle = "controller.config.prometheus.", "policy.bundle."
	for set, want := range map[string]string{
		config + "url=prometheus:9090":                               "'/controller/config/prometheus/url'",
		config + "url=ftp://prometheus":                              "'/controller/config/prometheus/url'",
		config + "url=http://:9090":                                  "'/controller/config/prometheus/url'",
		config + "url=https://me:secret@host":                        "'/controller/config/prometheus/url'",
		config + "url=https://host/?query=up":                        "'/controller/config/prometheus/url'",
		config + "url=https://host/%zz":                              "'/controller/config/prometheus/url'",
		config + "tokenFile=token":                                   "'/controller/config/prometheus/tokenFile'",
		config + "tokenFile=/token":                                  "controller.config.prometheus.url: must be an https URL",
		"controller.prometheusSecret.name=read":                      "controller.config.prometheus.url: must be an https URL",
		bundle + "url=https://":                                      "'/policy/bundle/url'",
		bundle + "url=https://:443/b":                                "'/policy/bundle/url'",
		bundle + "url=https://me:secret@host/b":                      "'/policy/bundle/url'",
		config + "url=http://[1:2]/":                                 "controller.config.prometheus.url: 1:2 in brackets must be an IPv6 address",
		config + "url=http://[fe80::1%eth0]/":                        "'/controller/config/prometheus/url'",
		bundle + "url=https://[::1.2]/b," + bundle + "publicKey=PEM": "policy.bundle.url: ::1.2 in brackets must be an IPv6 address",
		bundle + "interval=0s":                                       "policy.bundle.interval: 0s must be from 1s to 24h0m0s",
		bundle + "interval=999ms":                                    "policy.bundle.interval: 999ms must be from 1s to 24h0m0s",
		bundle + "interval=24h1ms":                                   "policy.bundle.interval: 24h1ms must be from 1s to 24h0m0s",
		bundle + "url=http://host/b," + bundle + "publicKey=PEM," + bundle + "secret.name=access," + bundle + "secret.token=t": "policy.bundle.url: must be an https URL",
		bundle + "url=https://host/b," + bundle + "publicKey=PEM," + bundle + "secret.name=access," + bundle + "secret.cert=t": "policy.bundle.secret: cert and key go together",
	} {
		if _, err := helm(t, "template", "detnet", "detnet", "--set", set); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("--set %s: %v lacks %q", set, err, want)
		}
	}
	for _, ok := range []string{
		bundle + "interval=1s", bundle + "interval=24h", bundle + "interval=23h59m60s", config + "url=http://[2001:db8::1]:9090/prefix",
		config + "url=http://[::ffff:192.0.2.1]:9090", config + "url=HTTPS://[fe80::1%25eth0]/," + config + "tokenFile=/token",
		bundle + "url=Https://[::ffff:192.0.2.1%25eth0]/b," + bundle + "publicKey=PEM," + bundle + "secret.name=access," + bundle + "secret.token=t",
	} {
		if _, err := helm(t, "template", "detnet", "detnet", "--set", ok); err != nil {
			t.Errorf("--set %s: %v", ok, err)
		}
	}
	if live.LeastEvery != time.Second || live.MostEvery != 24*time.Hour {
		t.Error("the template has other bounds than the webhook")
	}
}
