package policies

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/open-policy-agent/opa/v1/ast"
	"github.com/open-policy-agent/opa/v1/format"

	"github.com/detnet/detnet/bitrate"
	"github.com/detnet/detnet/internal/await"
	"github.com/detnet/detnet/workload"
)

// A file that is too large or may never end is refused, and nobody waits for it.
func TestReadDirIsBounded(t *testing.T) {
	for want, write := range map[string]func(path string) error{
		"more than 4 MiB": func(path string) error { return os.WriteFile(path, make([]byte, maxFile+1), 0o600) },
		"want a file":     func(path string) error { return syscall.Mkfifo(path, 0o600) },
	} {
		dir := t.TempDir()
		if err := write(filepath.Join(dir, "site.yaml")); err != nil {
			t.Fatal(err)
		}
		if _, err := ReadDir(dir); err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "site.yaml") {
			t.Errorf("%v, want that site.yaml has %s", err, want)
		}
	}
}

func load(t testing.TB, set Set) (engine *Engine, err error) {
	t.Helper()
	await.Unhurried(t, func(ctx context.Context) { engine, err = Load(ctx, set) })
	return engine, err
}

func decide(t testing.TB, e *Engine, in Input) (d Decision, err error) {
	t.Helper()
	await.Unhurried(t, func(ctx context.Context) { d, err = e.Decide(ctx, in) })
	return d, err
}

func mustLoad(t testing.TB, site Set) *Engine {
	t.Helper()
	engine, err := load(t, site.Over(Default()))
	if err != nil {
		t.Fatal(err)
	}
	return engine
}

// podInput is a pod of a namespace that trusts its critical pods.
func podInput(t testing.TB, labels, annotations map[string]string) Input {
	t.Helper()
	pod, err := json.Marshal(map[string]any{
		"metadata": map[string]any{"generateName": "p-", "labels": labels, "annotations": annotations},
		"spec": map[string]any{"containers": []any{map[string]any{
			"name": "c", "ports": []any{map[string]any{"containerPort": 8080, "protocol": "TCP"}},
		}}},
	})
	if err != nil {
		t.Fatal(err)
	}
	object, err := ReadObject(pod)
	if err != nil {
		t.Fatal(err)
	}
	return Input{Pod: object, Operation: "CREATE", Namespace: Namespace{Name: "shop", Labels: map[string]string{"detnet.dev/allow-critical": "true"}}}
}

func mustDecide(t testing.TB, e *Engine, in Input) Decision {
	t.Helper()
	d, err := decide(t, e, in)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// TestDefaultSet runs the Rego tests that ship with the default set.
func TestDefaultSet(t *testing.T) {
	var report TestReport
	var err error
	await.Unhurried(t, func(ctx context.Context) { report, err = Test(ctx, Default()) })
	if err != nil {
		t.Fatal(err)
	}
	if len(report.Results) < 11 || report.Coverage < 90 {
		t.Errorf("only %d tests ran, and reached %.0f %%", len(report.Results), report.Coverage)
	}
	for _, r := range report.Results {
		if r.Failed {
			t.Errorf("%s:%d %s failed: %v\n%s", r.File, r.Line, r.Name, r.Error, r.Output)
		}
	}
}

// The shipped rules are models for people's own: they are formatted by OPA's
// own formatter.
func TestDefaultSetIsFormatted(t *testing.T) {
	for name, content := range Default() {
		if filepath.Ext(name) != ".rego" {
			continue
		}
		want, err := format.SourceWithOpts(name, []byte(content), format.Opts{RegoVersion: ast.RegoV1})
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(string(want), content); diff != "" {
			t.Errorf("%s (-formatted +file):\n%s", name, diff)
		}
	}
}

func TestDecideCritical(t *testing.T) {
	e := mustLoad(t, nil)
	got := mustDecide(t, e, podInput(t,
		map[string]string{workload.LabelPriority: "critical"},
		map[string]string{workload.AnnotationMaxLatency: "10000us", workload.AnnotationEgressBandwidth: "50M"}))
	want := Decision{
		Class: "critical", PriorityClassName: "detnet-critical", Rank: 100, Protected: true,
		Bandwidth: Bandwidth{Priority: "guaranteed"},
		SLO:       SLO{MaxJitter: "1ms", MaxLatency: "10ms"},
		Probe:     "stamp", Reflector: "node",
		Reasons: []string{"class.pod-label"}, PolicyHash: e.Hash(),
	}
	got.Affinity = nil
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestDecideBestEffort(t *testing.T) {
	in := podInput(t, map[string]string{workload.LabelPriority: "best-effort"}, map[string]string{workload.AnnotationEgressBandwidth: "50M"})
	in.Namespace.Annotations = map[string]string{workload.AnnotationMinBandwidth: "20M"}
	in.Namespace.Labels = map[string]string{workload.LabelFloorsAtMost: "1G"}
	in.Siblings = []Sibling{{"a", 30 * bitrate.Mbit}, {"b", 25 * bitrate.Mbit}}
	got := mustDecide(t, mustLoad(t, nil), in).Bandwidth
	want := Bandwidth{
		Initial: 50 * bitrate.Mbit, Egress: 25 * bitrate.Mbit, Min: 20 * bitrate.Mbit, ClassMin: 10 * bitrate.Mbit, Max: 50 * bitrate.Mbit,
		Weight: 1, Priority: "besteffort",
	}
	if got != want {
		t.Errorf("bandwidth %+v, want %+v", got, want)
	}
}

// A bad annotation costs the pod that annotation only, and the namespace's is
// next in line.
func TestBadAnnotations(t *testing.T) {
	e := mustLoad(t, nil)
	in := podInput(t, map[string]string{workload.LabelPriority: "critical"}, map[string]string{
		workload.AnnotationMaxJitter: "fast", workload.AnnotationProbe: "udp:0", workload.AnnotationEgressBandwidth: "10Mbit", workload.AnnotationWeight: "-1",
	})
	in.Namespace.Annotations = map[string]string{workload.AnnotationMaxJitter: "2ms"}
	d := mustDecide(t, e, in)
	if d.SLO.MaxJitter != "2ms" || d.Probe != "stamp" {
		t.Errorf("jitter %q, probe %q", d.SLO.MaxJitter, d.Probe)
	}
	if len(d.Problems) != 4 {
		t.Errorf("problems: %+v", d.Problems)
	}
	for _, p := range d.Problems {
		if !strings.Contains(p.Message, p.Key) || !strings.Contains(p.Message, "pod annotation") {
			t.Errorf("problem %+v does not say where it is", p)
		}
	}
}

// How a pod is measured: what goes with what, and what is said where it does
// not.
func TestProbeAsks(t *testing.T) {
	const query = "histogram_quantile(0.95, rate(hubble_flow_latency_seconds_bucket[60s]))"
	e := mustLoad(t, nil)
	site := mustLoad(t, Set{"site.rego": "package detnet.site\n\nprobe := \"prometheus\"\n\nquery := \"max(site_delay_seconds)\"\n\ndscp := 34\n"})
	for name, tt := range map[string]struct {
		engine                   *Engine
		asks                     map[string]string
		probe, query, dscp, says string
	}{
		"query":              {e, map[string]string{workload.AnnotationProbe: "prometheus", workload.AnnotationQuery: " " + query + "\n"}, "prometheus", query, "", ""},
		"query missing":      {e, map[string]string{workload.AnnotationProbe: "prometheus"}, "stamp", "", "", "needs a query in detnet.dev/query; the agent beside the pod answers in its place"},
		"query unreadable":   {e, map[string]string{workload.AnnotationProbe: "prometheus", workload.AnnotationQuery: "rate(x[60s]"}, "stamp", "", "", "detnet.dev/query is ignored"},
		"family":             {e, map[string]string{workload.AnnotationProbe: "tcp6:8080"}, "tcp6:8080", "", "", ""},
		"family beside":      {e, map[string]string{workload.AnnotationProbe: "tcp6:8080", workload.AnnotationReflector: "node"}, "stamp6", "", "", ""},
		"family, other port": {e, map[string]string{workload.AnnotationProbe: "udp4:9"}, "stamp4", "", "", "udp4:9 is no port of the pod"},
		"query out of place": {e, map[string]string{workload.AnnotationProbe: "tcp:8080", workload.AnnotationQuery: query}, "tcp:8080", "", "", "detnet.dev/query is ignored: detnet.dev/probe is tcp:8080"},
		"codepoint":          {e, map[string]string{workload.AnnotationDSCP: "46"}, "stamp", "", "EF", ""},
		"bad codepoint":      {e, map[string]string{workload.AnnotationDSCP: "64"}, "stamp", "", "", "pod annotation detnet.dev/dscp is ignored: \"64\" must be a number from 0 to 63"},
		"site":               {site, map[string]string{workload.AnnotationProbe: "udp:1", workload.AnnotationDSCP: "EF"}, "prometheus", "max(site_delay_seconds)", "AF41", ""},
	} {
		d := mustDecide(t, tt.engine, podInput(t, map[string]string{workload.LabelPriority: "critical"}, tt.asks))
		if d.Probe != tt.probe || d.Query != tt.query || d.DSCP != tt.dscp {
			t.Errorf("%s: probe %q, query %q, dscp %q; want %q, %q, %q", name, d.Probe, d.Query, d.DSCP, tt.probe, tt.query, tt.dscp)
		}
		said := strings.Join(d.Warn(), "; ")
		if tt.says == "" && said != "" || !strings.Contains(said, tt.says) {
			t.Errorf("%s: warnings %q, want %q", name, said, tt.says)
		}
	}
	d := mustDecide(t, site, podInput(t, map[string]string{workload.LabelPriority: "best-effort"}, map[string]string{workload.AnnotationDSCP: "EF"}))
	if d.Probe+d.Query+d.DSCP != "" {
		t.Errorf("a pod that nobody measures gets probe %q, query %q, dscp %q", d.Probe, d.Query, d.DSCP)
	}
}

func TestBrokenSetsAreRefused(t *testing.T) {
	for name, test := range map[string]struct {
		site Set
		want []string // parts of the error
	}{
		"syntax":       {Set{"x.rego": "package detnet.site\n\nclass := if"}, []string{"x.rego:3", "parse"}},
		"unsafe":       {Set{"x.rego": "package detnet.site\n\nclass := nowhere"}, []string{"x.rego:3", "nowhere"}},
		"network":      {Set{"x.rego": "package detnet.site\n\nclass := http.send({}).x"}, []string{"x.rego:3", "http.send"}},
		"yaml":         {Set{"x.yaml": "classes: ["}, []string{"x.yaml"}},
		"unknown key":  {Set{"x.yaml": "classes: {critical: {rnk: 1}}"}, []string{"x.yaml:1", "class critical", "rnk"}},
		"bad rate":     {Set{"x.yaml": "classes: {best-effort: {bandwidth: {max: 1000Mbit}}}"}, []string{"x.yaml:1", "class best-effort", "bandwidth", "1000Mbit"}},
		"crossed":      {Set{"x.yaml": "classes: {best-effort: {bandwidth: {min: 2G}}}"}, []string{"min <= initial <= max"}},
		"limited":      {Set{"x.yaml": "classes: {critical: {bandwidth: {min: 1M, initial: 1M, max: 1M, weight: 1, maxWeight: 1}}}"}, []string{"class critical", "never limited"}},
		"bad trust":    {Set{"x.yaml": "trust: {otherwise: denny}"}, []string{"trust.otherwise", "denny", "downgrade, deny or allow"}},
		"bad default":  {Set{"x.yaml": "defaults: {unlabelled: gold}"}, []string{"defaults.unlabelled", "gold"}},
		"bad fallback": {Set{"x.yaml": "trust: {downgradeTo: gold}"}, []string{"trust.downgradeTo", "gold"}},
		"failing test": {Set{"x_test.rego": "package x_test\n\ntest_it if 1 == 2"}, []string{"x_test.rego:3", "test_it"}},
		"taken":        {Set{"x.yaml": "detnet: {}"}, []string{"x.yaml", "detnet"}},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := load(t, test.site.Over(Default()))
			if !errors.Is(err, ErrPolicy) {
				t.Fatalf("error %v, want ErrPolicy", err)
			}
			for _, part := range test.want {
				if !strings.Contains(err.Error(), part) {
					t.Errorf("error %q does not mention %q", err, part)
				}
			}
		})
	}
}

var assignment = regexp.MustCompile(`(?m)^(.*) := (.*)$`)

// What must not be is found when the set is loaded, or else is an error at the
// pod that it concerns, never a denial.
func TestUnusableDecisions(t *testing.T) {
	for name, test := range map[string]struct{ rule, want string }{
		"unknown class": {`class := "gold"`, "is no class"},
		"bad probe":     {"class := \"critical\"\nprobe := \"sctp:1\"", "probe"},
		"no query":      {"class := \"critical\"\nprobe := \"prometheus\"", "query: probe prometheus needs one"},
		"bad query":     {"class := \"critical\"\nprobe := \"prometheus\"\nquery := \"rate(x\"", "query"},
		"bad codepoint": {"class := \"critical\"\ndscp := 64", "from 0 to 63"},
		"bad jitter":    {"class := \"critical\"\nslo.maxJitter := \"never\"", "slo"},
		"managed key":   {"class := \"standard\"\nannotations[\"detnet.dev/rank\"] := \"1\"", "can't be set by hand"},
		"label value":   {"class := \"standard\"\nlabels[\"a\"] := \"no spaces\"", "labels"},
		"number":        {"class := \"standard\"\nlabels[\"a\"] := 1", "want a string"},
		"cidr":          {"class := \"standard\"\nnetworkPolicies[\"p\"] := {\"endpointSelector\": {}, \"egress\": [{\"toCIDR\": [\"10.0.0/8\"]}]}", "refused by Cilium"},
		"rule field":    {"class := \"standard\"\nnetworkPolicies[\"p\"] := {\"endpointSelector\": {}, \"egresses\": []}", "egresses"},
		"policy name":   {"class := \"standard\"\nnetworkPolicies[\"P P\"] := {\"endpointSelector\": {}, \"egress\": [{}]}", "networkPolicies"},
		"priority":      {"class := \"standard\"\nbandwidth.priority := \"gold\"", "guaranteed, burstable"},
	} {
		t.Run(name, func(t *testing.T) {
			set := Set{"site.rego": "package detnet.site\n\n" + test.rule + "\n"}.Over(Default())
			if _, err := load(t, set); !errors.Is(err, ErrPolicy) || !strings.Contains(err.Error(), test.want) {
				t.Errorf("loading: %v; want an error with %q", err, test.want)
			}
			late := assignment.ReplaceAllString(test.rule, `$1 := object.get({"v": $2}, "v", null) if input.pod.metadata.labels.app == "x"`)
			e := mustLoad(t, Set{"site.rego": "package detnet.site\n\n" + late + "\n"})
			d, err := decide(t, e, podInput(t, map[string]string{"app": "x"}, nil))
			if !errors.Is(err, ErrPolicy) || !strings.Contains(err.Error(), test.want) {
				t.Errorf("decision %+v, error %v; want an error with %q", d, err, test.want)
			}
		})
	}
}

// Whatever a site's rules say, a critical pod has no limit.
func TestProtectedPodsAreNeverLimited(t *testing.T) {
	e := mustLoad(t, Set{"site.rego": `package detnet.site
bandwidth := {"initial": "100M", "egress": "100M", "ingress": "10M", "min": "10M", "max": "1G", "weight": 1}`})
	d := mustDecide(t, e, podInput(t, map[string]string{workload.LabelPriority: "critical"}, nil))
	if want := (Bandwidth{Priority: "guaranteed"}); d.Bandwidth != want {
		t.Errorf("bandwidth %+v, want %+v", d.Bandwidth, want)
	}
}

func TestUnreadablePod(t *testing.T) {
	e := mustLoad(t, nil)
	for _, raw := range []string{"", "null", "[]", "{", `{"metadata": 1}`} {
		pod, err := ReadObject([]byte(raw))
		if err == nil {
			_, err = e.Decide(t.Context(), Input{Pod: pod})
		}
		if !errors.Is(err, ErrInput) {
			t.Errorf("%q: error %v, want ErrInput", raw, err)
		}
	}
}

func TestHashDependsOnContentAlone(t *testing.T) {
	a, b := Set{"a.rego": "x", "b.rego": "y"}, Set{"b.rego": "y", "a.rego": "x"}
	if a.Hash() != b.Hash() {
		t.Error("order changes the hash")
	}
	if a.Hash() == (Set{"a.rego": "y", "b.rego": "x"}).Hash() {
		t.Error("swapped contents do not")
	}
}

func TestExplainNamesTheRules(t *testing.T) {
	e, in := mustLoad(t, nil), podInput(t, map[string]string{workload.LabelPriority: "critical"}, nil)
	var fired []Fired
	var err error
	await.Unhurried(t, func(ctx context.Context) { _, fired, err = e.Explain(ctx, in) })
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]bool{}
	for _, f := range fired {
		seen[f.Rule] = f.File != "" && f.Line > 0
	}
	for _, want := range []string{"data.detnet.claim", "data.detnet.verdict", "data.detnet.decision"} {
		if !seen[want] {
			t.Errorf("rule %s is missing: %+v", want, fired)
		}
	}
}
