// Package charts tests the Helm chart: what it renders, and what a real API
// server makes of it.
package charts

import (
	"bytes"
	"flag"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	admissionv1 "k8s.io/api/admissionregistration/v1"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/yaml"

	"github.com/detnet/detnet/controller/config"
	"github.com/detnet/detnet/controller/targets"
	"github.com/detnet/detnet/policies"
	"github.com/detnet/detnet/webhook"
)

var update = flag.Bool("update", false, "write the golden files")

const namespace = "detnet-system"

// helmBinary is that of $HELM, of the folder with the API server's binaries, or
// of the PATH.
func helmBinary(t *testing.T) string {
	t.Helper()
	if binary := os.Getenv("HELM"); binary != "" {
		return binary
	}
	for _, candidate := range []string{filepath.Join(os.Getenv("KUBEBUILDER_ASSETS"), "helm"), "helm"} {
		if binary, err := exec.LookPath(candidate); err == nil {
			return binary
		}
	}
	if os.Getenv("CI") == "true" {
		t.Fatal("no helm: in CI set HELM to its path")
	}
	t.Skip("no helm: put it on the PATH or set HELM to its path")
	return ""
}

func helm(t *testing.T, args ...string) (string, error) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), helmBinary(t), args...)
	home := t.TempDir() // nothing of the user's configuration
	cmd.Env = append(os.Environ(), "HELM_CACHE_HOME="+home, "HELM_CONFIG_HOME="+home, "HELM_DATA_HOME="+home)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return "", &helmError{err, stderr.String()}
	}
	return string(out), nil
}

type helmError struct {
	error
	stderr string
}

func (e *helmError) Error() string { return e.error.Error() + ": " + e.stderr }

func TestGolden(t *testing.T) {
	tests := map[string][]string{
		"default":      nil,
		"cert-manager": {"--api-versions", "cert-manager.io/v1"},
		"full":         {"--values", "testdata/full.values.yaml"},
		"oldest":       {"--kube-version", "1.28.0", "--set", "serviceMonitor.enabled=true"},
	}
	for name, args := range tests {
		t.Run(name, func(t *testing.T) {
			got, err := helm(t, append([]string{"template", "detnet", "detnet", "--namespace", namespace}, args...)...)
			if err != nil {
				t.Fatal(err)
			}
			golden := filepath.Join("testdata", name+".golden.yaml")
			if *update {
				if err := os.WriteFile(golden, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(golden)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(string(want), got); diff != "" {
				t.Errorf("rendered differently (-golden +now; accept it with -update):\n%s", diff)
			}
		})
	}
}

// auto must not pick cert-manager where it is absent, nor self be overruled by
// its presence: both would leave the webhook without a certificate.
func TestCertificateModes(t *testing.T) {
	const present = "--api-versions=cert-manager.io/v1"
	tests := []struct {
		mode, flag  string
		certManager bool
	}{
		{"auto", "", false},
		{"auto", present, true},
		{"self", present, false},
		{"cert-manager", "", true},
	}
	for _, tt := range tests {
		args := []string{"template", "detnet", "detnet", "--namespace", namespace, "--set", "certificates.mode=" + tt.mode}
		if tt.flag != "" {
			args = append(args, tt.flag)
		}
		out, err := helm(t, args...)
		if err != nil {
			t.Fatal(err)
		}
		certificates, injected, self := strings.Contains(out, "kind: Certificate"), strings.Contains(out, "inject-ca-from"), strings.Contains(out, "--cert-secret=")
		if certificates != tt.certManager || injected != tt.certManager || self == tt.certManager {
			t.Errorf("%s %s: Certificate %v, injection %v, self-managed %v", tt.mode, tt.flag, certificates, injected, self)
		}
		if strings.Contains(out, "caBundle:") {
			t.Errorf("%s %s: a caBundle is templated: each upgrade would clear the injected one", tt.mode, tt.flag)
		}
	}
}

// A typing error must be an error, and say where.
func TestSchemaRefuses(t *testing.T) {
	for set, want := range map[string]string{
		"certificates.mode=none":      "certificates",
		"agent.enforce=on":            "enforce",
		"agent.enforcement=tc":        "enforcement",
		"webhook.replicas=0":          "replicas",
		"webhook.failurePolicy=Maybe": "failurePolicy",
		"webhook.timeoutSeconds=31":   "timeoutSeconds",
		"controller.law=pid":          "law",
		"controller.config.law=aimd":  "law",
		"policy.files.readme=text":    "readme",
		"prometheusRule.enable=true":  "enable",
		"grafanaDashboard.labels.a=1": "labels",
		"unheard=of":                  "unheard",
	} {
		if _, err := helm(t, "template", "detnet", "detnet", "--set", set); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("--set %s: %v", set, err)
		}
	}
}

// The controller may write to templates and nodes only where it is asked to; an
// explicit zero keeps the right, so that it can give back what it changed.
func TestRightsFollowSettings(t *testing.T) {
	for _, tt := range []struct {
		set                string
		templates, nodesOK bool
	}{
		{"", false, false},
		{"controller.config.rolloutEvery=5m", true, false},
		{"controller.config.rolloutEvery=0s", true, false},
		{"controller.config.nodes.taintAfter=1m", false, true},
		{"controller.config.nodes.bandwidth=false", false, true},
	} {
		args := []string{"template", "detnet", "detnet", "--show-only", "templates/controller/rbac.yaml"}
		if tt.set != "" {
			args = append(args, "--set", tt.set)
		}
		out, err := helm(t, args...)
		if err != nil {
			t.Fatal(err)
		}
		if got := strings.Contains(out, "statefulsets"); got != tt.templates {
			t.Errorf("%q: may patch templates: %v", tt.set, got)
		}
		if got := strings.Contains(out, "nodes/status"); got != tt.nodesOK {
			t.Errorf("%q: may mark nodes: %v", tt.set, got)
		}
	}
}

// NOTES.txt is what helm prints of an install.
func TestNotesWarnOfRollouts(t *testing.T) {
	for set, want := range map[string]bool{"controller.law=adaptive": false, "controller.config.rolloutEvery=5m": true, "controller.config.rolloutEvery=0s": false} {
		out, err := helm(t, "install", "detnet", "detnet", "--dry-run=client", "--set", set)
		if err != nil {
			t.Fatal(err)
		}
		if got := strings.Contains(out, "replaces all their pods"); got != want {
			t.Errorf("%s: warned %v", set, got)
		}
	}
}

// off is a word to people and a boolean to YAML.
func TestOffIsAWord(t *testing.T) {
	values := filepath.Join(t.TempDir(), "values.yaml")
	if err := os.WriteFile(values, []byte("agent: {enforce: off}\ncontroller: {mode: off}\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	out, err := helm(t, "template", "detnet", "detnet", "--values", values)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"--enforce=off", "--mode=off"} {
		if !strings.Contains(out, want) {
			t.Errorf("%s is missing", want)
		}
	}
}

// A class whose PriorityClass does not exist would have each of its pods
// refused at creation.
func TestPriorityClassesOfThePolicy(t *testing.T) {
	file, err := os.ReadFile("../policies/default/classes.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var policy struct {
		Classes map[string]struct {
			PriorityClassName string `json:"priorityClassName"`
		} `json:"classes"`
	}
	if err := yaml.Unmarshal(file, &policy); err != nil {
		t.Fatal(err)
	}
	out, err := helm(t, "template", "detnet", "detnet", "--show-only", "templates/priorityclasses.yaml")
	if err != nil {
		t.Fatal(err)
	}
	named := 0
	for class, data := range policy.Classes {
		if data.PriorityClassName == "" {
			continue
		}
		named++
		if !strings.Contains(out, "\n  name: "+data.PriorityClassName+"\n") {
			t.Errorf("class %s names PriorityClass %s, which the chart does not make", class, data.PriorityClassName)
		}
	}
	if named == 0 {
		t.Error("no class of the default policy names a PriorityClass")
	}
}

// The guard stands in two forms, CEL here and Go in the webhook; they must agree.
func TestGuardIsTheWebhooks(t *testing.T) {
	out, err := helm(t, "template", "detnet", "detnet", "--namespace", namespace, "--show-only", "templates/webhook/guard.yaml")
	if err != nil {
		t.Fatal(err)
	}
	documents := strings.Split(out, "\n---\n")
	if len(documents) != 2 {
		t.Fatalf("%d documents", len(documents))
	}
	var policy admissionv1.ValidatingAdmissionPolicy
	var binding admissionv1.ValidatingAdmissionPolicyBinding
	for n, into := range []any{&policy, &binding} {
		if err := yaml.UnmarshalStrict([]byte(documents[n]), into); err != nil {
			t.Fatal(err)
		}
	}
	wantPolicy, wantBinding := webhook.GuardPolicy(webhook.Trusted{
		Users:  []string{"system:serviceaccount:" + namespace + ":detnet-controller"},
		Groups: []string{"system:masters", "detnet:admins"},
	})
	if diff := cmp.Diff(wantPolicy.Spec, policy.Spec); diff != "" || policy.Name != wantPolicy.Name {
		t.Errorf("policy %s (-webhook +chart):\n%s", policy.Name, diff)
	}
	if diff := cmp.Diff(wantBinding.Spec, binding.Spec); diff != "" || binding.Name != wantBinding.Name {
		t.Errorf("binding %s (-webhook +chart):\n%s", binding.Name, diff)
	}
}

// What the values pass through must arrive as the programs read it.
func TestConfigMapsAreReadable(t *testing.T) {
	rendered := func(template string) map[string]string {
		t.Helper()
		out, err := helm(t, "template", "detnet", "detnet", "--values", "testdata/full.values.yaml", "--show-only", template)
		if err != nil {
			t.Fatal(err)
		}
		var configMap corev1.ConfigMap
		if err := yaml.UnmarshalStrict([]byte(out), &configMap); err != nil {
			t.Fatal(err)
		}
		return configMap.Data
	}
	site := policies.Set(rendered("templates/webhook/policy.yaml"))
	if _, err := policies.Load(t.Context(), site.Over(policies.Default())); err != nil || len(site) != 1 {
		t.Errorf("policy of %d files: %v", len(site), err)
	}
	c, err := config.Parse([]byte(rendered("templates/controller/config.yaml")["config.yaml"]), config.Default())
	if err != nil || c.WritesPerSecond != 10 {
		t.Errorf("configuration: %v writes a second, %v", c.WritesPerSecond, err)
	}
	if p := c.Prometheus; p.TokenFile != "/etc/detnet/prometheus/token" || p.CAFile != "/etc/detnet/prometheus/ca.crt" || p.URL == "" {
		t.Errorf("prometheus: %+v, want the files of the Secret", p)
	}
	static, err := targets.Parse([]byte(rendered("templates/controller/config.yaml")["critical-apps.yaml"]))
	if err != nil || len(static.Apps) != 1 {
		t.Errorf("static targets: %+v, %v", static, err)
	}
}

// The controller is told of the Secret's keys that there are, and what the user
// says of files himself stands.
func TestSecretForPrometheus(t *testing.T) {
	const url = "controller.config.prometheus.url=https://prometheus"
	for name, tt := range map[string]struct {
		set       []string
		token, ca string
		mounted   bool
	}{
		"none":           {[]string{url}, "", "", false},
		"a token":        {[]string{url, "controller.prometheusSecret.name=access"}, "/etc/detnet/prometheus/token", "", true},
		"a CA":           {[]string{url, "controller.prometheusSecret.name=access", "controller.prometheusSecret.token=", "controller.prometheusSecret.ca=ca.pem"}, "", "/etc/detnet/prometheus/ca.crt", true},
		"another's path": {[]string{url, "controller.prometheusSecret.name=access", "controller.config.prometheus.tokenFile=/token"}, "/token", "", true},
	} {
		t.Run(name, func(t *testing.T) {
			show := func(template string) string {
				out, err := helm(t, "template", "detnet", "detnet", "--set", strings.Join(tt.set, ","), "--show-only", template)
				if err != nil {
					t.Fatal(err)
				}
				return out
			}
			var configMap corev1.ConfigMap
			if err := yaml.UnmarshalStrict([]byte(show("templates/controller/config.yaml")), &configMap); err != nil {
				t.Fatal(err)
			}
			c, err := config.Parse([]byte(configMap.Data["config.yaml"]), config.Default())
			if err != nil || c.Prometheus.TokenFile != tt.token || c.Prometheus.CAFile != tt.ca {
				t.Errorf("token %q, CA %q, %v; want %q, %q", c.Prometheus.TokenFile, c.Prometheus.CAFile, err, tt.token, tt.ca)
			}
			var deployment appsv1.Deployment
			if err := yaml.UnmarshalStrict([]byte(show("templates/controller/deployment.yaml")), &deployment); err != nil {
				t.Fatal(err)
			}
			mounted := slices.ContainsFunc(deployment.Spec.Template.Spec.Volumes, func(v corev1.Volume) bool {
				return v.Secret != nil && v.Secret.SecretName == "access" && len(v.Secret.Items) == 1
			})
			if mounted != tt.mounted {
				t.Errorf("mounted: %v, want %v", mounted, tt.mounted)
			}
		})
	}
}

func TestLint(t *testing.T) {
	if out, err := helm(t, "lint", "--strict", "detnet"); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}
