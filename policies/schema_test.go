package policies

import (
	"maps"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
)

const sitePrefix = "package detnet.site\n\n"

// Rules that read what no input has could never fire: they are refused, with the
// place and what was probably meant.
func TestRulesThatCannotFire(t *testing.T) {
	for rego, want := range map[string]string{
		sitePrefix + `class := "high" if input.request.object.metadata.labels.app == "x"`:                   `site.rego:3: input.request: there is no field "request": the input is no AdmissionReview: the pod is input.pod`,
		sitePrefix + `class := "high" if input.review.object.kind == "Pod"`:                                 `input.review: there is no field "review": the input is not Gatekeeper's`,
		sitePrefix + `class := input.parameters.class`:                                                      `site.rego:3: input.parameters: there is no field "parameters": the input is not Gatekeeper's: put parameters`,
		sitePrefix + `class := "high" if input.namspace.labels.env == "prod"`:                               `input.namspace: there is no field "namspace": did you mean namespace?`,
		sitePrefix + `class := "high" if input["namspace"].name == "prod"`:                                  `did you mean namespace?`,
		sitePrefix + `class := "high" if input.namespace.label.env == "prod"`:                               `input.namespace.label: there is no field "label": did you mean labels?`,
		sitePrefix + `class := "high" if input.pod.metdata.labels.app == "x"`:                               `site.rego:3: input.pod.metdata: there is no field "metdata": did you mean metadata?`,
		sitePrefix + "class := \"high\" if {\n\tsome c in input.pod.spec.containers\n\tc.imag == \"x\"\n}":  `there is no field "imag": did you mean image?`,
		sitePrefix + "pod := input.pod\n\nclass := \"high\" if pod.spec.hostNetwrok":                        `there is no field "hostNetwrok": did you mean hostNetwork?`,
		sitePrefix + `class := "high" if input.user.username == "x"`:                                        `input.user.username: there is no field "username"`,
		sitePrefix + `class := "high" if input.asks.maxJiter`:                                               `did you mean maxJitter?`,
		sitePrefix + `class := "high" if input.dryrun`:                                                      `did you mean dryRun?`,
		sitePrefix + `class := "high" if input.siblings[_].limit > 3`:                                       `there is no field "limit", only egress, name`,
		"package detnet.sites\n\nclass := \"high\"\n":                                                       `site.rego:1: nothing reads package detnet.sites: did you mean detnet.site?`,
		"package detent.site\n\nclass := \"high\"\n":                                                        `nothing reads package detent.site: did you mean detnet.site?`,
		"package site\n\nclass := \"high\"\n":                                                               `nothing reads package site: rules of your own belong into package detnet.site`,
		"package detnet.lib\n\nnight if true\n":                                                             `nothing reads package detnet.lib`,
		"package kubernetes.admission\n\ndeny contains \"no\" if input.operation == \"CREATE\"\n":           `nothing reads package kubernetes.admission`,
		sitePrefix + "class := \"high\" if object.get(input.pod.metadata.lables, \"app\", \"\") == \"x\"":   `did you mean labels?`,
		sitePrefix + "class := \"high\" if input.pod.metadata.annotation[\"a\"]":                            `did you mean annotations?`,
		sitePrefix + "class := \"high\" if input.pod.spec.containers[0].resources.limit[\"cpu\"] == \"1\"":  `did you mean limits?`,
		sitePrefix + "class := \"high\" if input.pod.spec.containers[0].readinessProbe.httpGet.prt == 8080": `did you mean port?`,
		sitePrefix + "class := \"high\" if input.pod.metadata.ownerReferences[_].knd == \"Job\"":            `did you mean kind?`,
		sitePrefix + "class := \"high\" if startswith(input.pod.spec.nodeNmae, \"edge\")":                   `did you mean nodeName?`,
		sitePrefix + "class := \"high\" if input.workload.nam == \"x\"":                                     `did you mean name?`,
		sitePrefix + "class := \"high\" if input.ports[_].protcol == \"UDP\"":                               `did you mean protocol?`,
	} {
		_, err := load(t, Set{"site.rego": rego + "\n"}.Over(Default()))
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s\nerror %v\nwant  %s", rego, err, want)
		}
	}
}

// Everything that an input may have can be read, and packages that are read or
// are none of detnet's are taken.
func TestRulesThatCanFire(t *testing.T) {
	for name, set := range map[string]Set{
		"any label":       {"site.rego": sitePrefix + `class := "high" if input.pod.metadata.labels["example.com/x"] == "y"`},
		"namespace":       {"site.rego": sitePrefix + `class := "high" if input.namespace.annotations.team == "y"`},
		"quantities":      {"site.rego": sitePrefix + `class := "high" if input.pod.spec.containers[_].resources.requests.cpu == "1"`},
		"a port's name":   {"site.rego": sitePrefix + `class := "high" if input.pod.spec.containers[_].livenessProbe.httpGet.port == "http"`},
		"its number":      {"site.rego": sitePrefix + `class := "high" if input.pod.spec.containers[_].livenessProbe.httpGet.port == 80`},
		"all at once":     {"site.rego": sitePrefix + "class := \"high\" if {\n\tinput.user.groups[_] == \"x\"\n\tinput.siblings[_].egress > 1\n\tinput.ports[_].port == \"80\"\n\tinput.asks.maxBandwidth > 3\n\tinput.workload.slug == \"x\"\n\tinput.dryRun\n\tinput.operation == \"CREATE\"\n}"},
		"a newer field":   {"site.rego": sitePrefix + `class := "high" if object.get(input.pod.spec, "fieldOfTomorrow", "") == "x"`},
		"a library":       {"site.rego": sitePrefix + `class := "high" if data.lib.night`, "lib.rego": "package lib\n\nnight if input.pod.metadata.name == \"x\"\n"},
		"one under it":    {"site.rego": "package detnet.site\n\nimport data.detnet.lib\n\nclass := \"high\" if lib.night(input.pod)", "lib.rego": "package detnet.lib\n\nnight(pod) if pod.metadata.name == \"x\"\n"},
		"somebody else's": {"other.rego": "package httpapi.authz\n\nallow if input.method == \"GET\"\n"},
		"a test's input":  {"site_test.rego": "package detnet.site_test\n\ntest_a if data.detnet.decision with input as {\"pod\": {\"metadata\": {}}, \"namespace\": {}}\n"},
	} {
		if _, err := Compile(t.Context(), set.Over(Default())); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// The reference lists the input's fields, all of them.
func TestReferenceListsTheInput(t *testing.T) {
	page, err := os.ReadFile("../docs/reference/policy.md")
	if err != nil {
		t.Fatal(err)
	}
	top := inputSchema()["properties"].(map[string]schema)
	rows := map[string]string{}
	for _, row := range regexp.MustCompile("(?m)^\\| (`input\\.[^|]*) \\| (.*) \\|$").FindAllStringSubmatch(string(page), -1) {
		for _, field := range regexp.MustCompile("`input\\.(\\w+)`").FindAllStringSubmatch(row[1], -1) {
			rows[field[1]] = row[2]
		}
	}
	if got, want := slices.Sorted(maps.Keys(rows)), slices.Sorted(maps.Keys(top)); !slices.Equal(got, want) {
		t.Errorf("the reference lists %q, the input has %q", got, want)
	}
	for field, s := range top {
		if field == "pod" {
			continue
		}
		if items, ok := s["items"].(schema); ok {
			s = items
		}
		inner, _ := s["properties"].(map[string]schema)
		for name := range inner {
			if !regexp.MustCompile(`\b` + name + `\b`).MatchString(rows[field]) {
				t.Errorf("the reference does not list input.%s.%s", field, name)
			}
		}
	}
}
