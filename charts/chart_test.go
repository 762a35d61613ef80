// Package charts tests the Helm chart: what it renders, and what a real API
// server makes of it.
package charts

import (
	"bytes"
	"flag"
	"maps"
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
		"cert-manager": {"--set", "certificates.mode=cert-manager"},
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

// Without a cluster to ask, auto is self: what CRDs are there says nothing about who
// would issue a certificate. Whoever issues it, the webhook alone says whom to trust.
func TestCertificateModes(t *testing.T) {
	const present = "--api-versions=cert-manager.io/v1"
	tests := []struct {
		mode, flag  string
		certManager bool
	}{
		{"auto", "", false},
		{"auto", present, false},
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
		certificates, followed := strings.Contains(out, "kind: Certificate"), strings.Contains(out, "--cert-issuer=cert-manager")
		if certificates != tt.certManager || followed != tt.certManager {
			t.Errorf("%s %s: Certificate %v, followed %v", tt.mode, tt.flag, certificates, followed)
		}
		for _, secret := range []string{"detnet-webhook-tls", "detnet-agent-tls", "detnet-controller-tls"} {
			if !strings.Contains(out, "kind: Secret\nmetadata:\n  name: "+secret+"\n") {
				t.Errorf("%s %s: no Secret %s: the next change of mode would take it away", tt.mode, tt.flag, secret)
			}
		}
		if strings.Contains(out, "caBundle:") || strings.Contains(out, "inject-ca-from") {
			t.Errorf("%s %s: somebody else sets the caBundle", tt.mode, tt.flag)
		}
	}
}

// A typing error must be an error, and say where.
func TestSchemaRefuses(t *testing.T) {
	for set, want := range map[string]string{
		"certificates.mode=none":         "certificates",
		"agent.enforce=on":               "enforce",
		"agent.enforcement=tc":           "enforcement",
		"webhook.replicas=0":             "replicas",
		"webhook.failurePolicy=Maybe":    "failurePolicy",
		"webhook.timeoutSeconds=31":      "timeoutSeconds",
		"controller.law=pid":             "law",
		"controller.config.law=aimd":     "law",
		"policy.files.readme=text":       "readme",
		"policy.bundle.url=https://x":    "publicKey",
		"image.digests.detnet=abc":       "digests",
		"trustedCAs=nonsense":            "trustedCAs",
		"webhook.clientCA=file.pem":      "clientCA",
		"webhook.tolerations[0].op=x":    "tolerations",
		"podSecurityContext.runAsUser=0": "runAsUser",
		"prometheusRule.enable=true":     "enable",
		"grafanaDashboard.labels.a=1":    "labels",
		"unheard=of":                     "unheard",
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
		{"controller.config.nodes.remember=true", false, true},
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

// The node agent is root with NET_ADMIN where it enforces, or has to read in the pods what they send, and nowhere else.
func TestTheNodeAgentIsRootWhereItHasToBe(t *testing.T) {
	for set, want := range map[string]bool{"agent.enforce=off": false, "agent.enforce=tc": true, "agent.netkit=true": true, "agent.netkit=false": false} {
		out, err := helm(t, "template", "detnet", "detnet", "--show-only", "templates/agent/node.yaml", "--set", set)
		if err != nil {
			t.Fatal(err)
		}
		if admin, root := strings.Contains(out, "NET_ADMIN"), strings.Contains(out, "runAsUser: 0"); admin != want || root != want {
			t.Errorf("%s: NET_ADMIN %v, root %v; want %v", set, admin, root, want)
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
	if len(documents) != 4 {
		t.Fatalf("%d documents", len(documents))
	}
	for n, of := range []func(webhook.Trusted) (*admissionv1.ValidatingAdmissionPolicy, *admissionv1.ValidatingAdmissionPolicyBinding){webhook.GuardPolicy, webhook.GuardBindings} {
		var policy admissionv1.ValidatingAdmissionPolicy
		var binding admissionv1.ValidatingAdmissionPolicyBinding
		for m, into := range []any{&policy, &binding} {
			// Helm puts kinds together.
			if err := yaml.UnmarshalStrict([]byte(documents[n+2*m]), into); err != nil {
				t.Fatal(err)
			}
		}
		wantPolicy, wantBinding := of(webhook.Trusted{
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
}

// What the values pass through must arrive as the programs read it.
func TestConfigMapsAreReadable(t *testing.T) {
	rendered := func(template string) map[string]string {
		t.Helper()
		out, err := helm(t, "template", "detnet", "detnet", "--values", "testdata/full.values.yaml", "--show-only", template)
		if err != nil {
			t.Fatal(err)
		}
		data := map[string]string{} // of all ConfigMaps of the template
		for document := range strings.SplitSeq(out, "\n---\n") {
			var configMap corev1.ConfigMap
			if err := yaml.UnmarshalStrict([]byte(document), &configMap); err != nil {
				t.Fatal(err)
			}
			if configMap.Name != "detnet-policy-shadow" {
				maps.Copy(data, configMap.Data)
			}
		}
		return data
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

// What people of other platforms need, and once could not say.
func TestPlatforms(t *testing.T) {
	const digest = "sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
	for name, tt := range map[string]struct{ sets, has, hasNot []string }{
		"EKS with an overlay": {
			[]string{"webhook.hostNetwork=true"},
			[]string{"hostNetwork: true\n      dnsPolicy: ClusterFirstWithHostNet", "--port=10260", "--metrics-addr=:10261", "containerPort: 10262"}, nil,
		},
		"OpenShift": {
			[]string{"podSecurityContext.runAsUser=null", "podSecurityContext.runAsGroup=null", "podSecurityContext.fsGroup=null"},
			[]string{"runAsNonRoot: true"}, []string{"runAsUser: 65532", "fsGroup:"},
		},
		"tainted pools": {
			[]string{"webhook.tolerations[0].operator=Exists", "controller.tolerations[0].key=infra", "webhook.podAnnotations.a=b"},
			[]string{"- operator: Exists", "- key: infra", "a: b"}, nil,
		},
		"pinned": {
			[]string{"image.digests.detnet-agent=" + digest}, []string{"image: docker.io/detnet/detnet-agent:dev@" + digest}, []string{"detnet-webhook:dev@"},
		},
	} {
		args := []string{"template", "detnet", "detnet"}
		for _, set := range tt.sets {
			args = append(args, "--set", set)
		}
		out, err := helm(t, args...)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		for _, part := range tt.has {
			if !strings.Contains(out, part) {
				t.Errorf("%s: no %q", name, part)
			}
		}
		for _, part := range tt.hasNot {
			if strings.Contains(out, part) {
				t.Errorf("%s: there is %q", name, part)
			}
		}
		// Windows nodes: everything names the system it runs on.
		if pods, selected := strings.Count(out, "serviceAccountName:"), strings.Count(out, "kubernetes.io/os: linux"); pods != selected {
			t.Errorf("%s: %d of %d pods choose Linux nodes", name, selected, pods)
		}
	}
}

// People apply what helm template prints: nothing of it may run at once what is
// meant for the end, or stay with rights that are meant for a moment.
// What people apply by hand, or a tool does, goes where it is rendered for, not
// where kubectl happens to look.
func TestEverythingNamesItsNamespace(t *testing.T) {
	clusterwide := []string{
		"ClusterRole", "ClusterRoleBinding", "PriorityClass", "MutatingWebhookConfiguration", "ValidatingWebhookConfiguration",
		"ValidatingAdmissionPolicy", "ValidatingAdmissionPolicyBinding", "FlowSchema", "PriorityLevelConfiguration",
	}
	for _, args := range [][]string{nil, {"--set", "certificates.mode=cert-manager"}, {"--values", "testdata/full.values.yaml"}, {"--set", "serviceMonitor.enabled=true"}} {
		out, err := helm(t, append([]string{"template", "detnet", "detnet", "--namespace", namespace}, args...)...)
		if err != nil {
			t.Fatal(err)
		}
		for text := range strings.SplitSeq(out, "\n---\n") {
			var object struct {
				Kind     string
				Metadata struct{ Name, Namespace string }
			}
			if err := yaml.Unmarshal([]byte(text), &object); err != nil {
				t.Fatal(err)
			}
			if object.Kind != "" && (object.Metadata.Namespace == "") != slices.Contains(clusterwide, object.Kind) {
				t.Errorf("%s %s names the namespace %q", object.Kind, object.Metadata.Name, object.Metadata.Namespace)
			}
		}
	}
}

func TestTemplateHasNoHooks(t *testing.T) {
	out, err := helm(t, "template", "detnet", "detnet")
	if err != nil {
		t.Fatal(err)
	}
	for _, part := range []string{"helm.sh/hook", "detnet-restore", "detnet-test", "kind: Job"} {
		if strings.Contains(out, part) {
			t.Errorf("helm template prints %s", part)
		}
	}
}

// Authorities of one's own are mounted where Go looks besides those in the image,
// and new ones start new pods.
func TestTrustedCAs(t *testing.T) {
	pem := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(pem, []byte("-----BEGIN CERTIFICATE-----\nAA==\n-----END CERTIFICATE-----\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	out, err := helm(t, "template", "detnet", "detnet", "--set-file", "trustedCAs="+pem, "--set-file", "webhook.clientCA="+pem, "--set", "webhook.clientNames={apiserver}")
	if err != nil {
		t.Fatal(err)
	}
	for part, times := range map[string]int{
		"{name: SSL_CERT_DIR, value: /etc/detnet/trusted-cas}": 2, "mountPath: /etc/detnet/trusted-cas": 2, "detnet.dev/trusted-cas:": 2,
		"--client-ca-files=/etc/detnet/client-ca/ca.crt,/etc/detnet/controller-ca/ca.crt": 1, "--client-names=apiserver,detnet-controller": 1,
	} {
		if got := strings.Count(out, part); got != times {
			t.Errorf("%q stands %d times, want %d", part, got, times)
		}
	}
}
