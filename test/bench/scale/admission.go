package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"time"

	dto "github.com/prometheus/client_model/go"
	"golang.org/x/sync/errgroup"
	admissionregv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	schedulingv1 "k8s.io/api/scheduling/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/detnet/detnet/certs"
	"github.com/detnet/detnet/workload"
)

// What the webhook is asked about, and what it has in its cache.
const (
	maxCached   = 100_000 // pods
	workloads   = 100     // that they are of
	creates     = 400     // on dry run, with the webhook and without in turn
	createEvery = 25 * time.Millisecond
	webhookPort = 18110
	webhookName = "detnet-webhook"
	ignored     = "ignored" // namespace that the webhook is not asked about
)

// Admission is what the webhook adds to a create, ms.
type Admission struct {
	Cached                     int
	WithP50Ms, WithP99Ms       float64 // of a create
	WithoutP50Ms, WithoutP99Ms float64 // of one that the webhook is not asked about
	WebhookP50Ms, WebhookP99Ms float64 // from a decoded pod to its patch; upper bounds of buckets
	Cores, MiB                 float64
}

// admission fills the webhook's cache, and has pods created at a constant rate. The
// controllers are gone by then.
func (b *bench) admission(ctx context.Context, dir string) error {
	if err := b.fill(ctx); err != nil {
		return err
	}
	w, err := startWebhook(ctx, b.options, b.cluster, dir)
	if err != nil {
		return err
	}
	defer w.kill()
	if err := b.until(ctx, "the webhook is ready", func() bool { return w.ready(ctx) }); err != nil {
		return err
	}
	if err := b.cluster.ask(ctx, dir); err != nil {
		return err
	}
	for range 20 { // connections, and until the configuration is in force
		for _, in := range []string{namespace, ignored} {
			if _, err := b.create(ctx, in); err != nil {
				return err
			}
		}
	}
	before, err := w.histogram(ctx, webhookMetric)
	if err != nil {
		return err
	}
	cpu, _, err := w.used()
	if err != nil {
		return err
	}
	begun := time.Now()
	with, without, err := b.creates(ctx)
	if err != nil {
		return err
	}
	after, err := w.histogram(ctx, webhookMetric)
	if err != nil {
		return err
	}
	now, resident, err := w.used()
	if err != nil {
		return err
	}
	b.figures.Admission = Admission{
		Cached:    max(b.cached, b.nodes*(b.pods+1)),
		WithP50Ms: 1000 * at(with, 0.5), WithP99Ms: 1000 * at(with, 0.99), WithoutP50Ms: 1000 * at(without, 0.5), WithoutP99Ms: 1000 * at(without, 0.99),
		WebhookP50Ms: 1000 * quantile(before, after, 0.5), WebhookP99Ms: 1000 * quantile(before, after, 0.99),
		Cores: (now - cpu).Seconds() / time.Since(begun).Seconds(), MiB: float64(resident) / (1 << 20),
	}
	return nil
}

// creates has pods created on dry run, in turn with the webhook and without, and returns
// how long each took, s, sorted.
func (b *bench) creates(ctx context.Context) (with, without []float64, err error) {
	ticker := time.NewTicker(createEvery)
	defer ticker.Stop()
	for range creates {
		for _, of := range []struct {
			in   string
			took *[]float64
		}{{namespace, &with}, {ignored, &without}} {
			select {
			case <-ctx.Done():
				return nil, nil, ctx.Err()
			case <-ticker.C:
			}
			took, err := b.create(ctx, of.in)
			if err != nil {
				return nil, nil, err
			}
			*of.took = append(*of.took, took.Seconds())
		}
	}
	slices.Sort(with)
	slices.Sort(without)
	return with, without, nil
}

// create makes a pod on dry run, and says how long that took. Where the webhook is asked
// the answer carries its stamps.
func (b *bench) create(ctx context.Context, in string) (time.Duration, error) {
	p := podOf(in, "admitted", "")
	p.Spec.NodeName, p.Spec.SchedulerName = "", "nobody"
	p.Labels = map[string]string{workload.LabelPriority: "best-effort"}
	p.OwnerReferences = owner(0)
	begun := time.Now()
	made, err := b.cluster.client.CoreV1().Pods(in).Create(ctx, p, metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}})
	if err != nil {
		return 0, fmt.Errorf("make a pod in %s on dry run: %w", in, err)
	}
	took := time.Since(begun)
	if stamped := made.Annotations[workload.AnnotationSignature] != ""; stamped != (in == namespace) {
		return 0, fmt.Errorf("a pod in %s is stamped: %v", in, stamped)
	}
	return took, nil
}

func owner(i int) []metav1.OwnerReference {
	yes := true
	return []metav1.OwnerReference{{APIVersion: "apps/v1", Kind: "ReplicaSet", Name: fmt.Sprintf("bulk-%d", i%workloads), UID: "bench", Controller: &yes}}
}

// fill makes as many pods as are missing.
func (b *bench) fill(ctx context.Context) error {
	group, all := errgroup.WithContext(ctx)
	group.SetLimit(creators)
	for i := range max(0, b.cached-b.nodes*(b.pods+1)) {
		group.Go(func() error {
			p := b.cluster.bulk("", "cached", i)
			p.Spec.SchedulerName, p.OwnerReferences = "nobody", owner(i)
			_, err := b.cluster.client.CoreV1().Pods(p.Namespace).Create(all, p, metav1.CreateOptions{})
			if err != nil {
				return fmt.Errorf("make pod %s/%s: %w", p.Namespace, p.Name, err)
			}
			return nil
		})
	}
	return group.Wait()
}

// ask has the API server ask the webhook about the pods of the namespace that name a
// priority.
func (c *cluster) ask(ctx context.Context, dir string) error {
	if err := c.priorityClasses(ctx); err != nil {
		return err
	}
	if err := c.namespace(ctx, ignored); err != nil {
		return err
	}
	authority, err := os.ReadFile(filepath.Join(dir, certs.CAFile))
	if err != nil {
		return err
	}
	url, fail, none := fmt.Sprintf("https://127.0.0.1:%d/mutate", webhookPort), admissionregv1.Fail, admissionregv1.SideEffectClassNone
	_, err = c.client.AdmissionregistrationV1().MutatingWebhookConfigurations().Create(ctx, &admissionregv1.MutatingWebhookConfiguration{
		ObjectMeta: metav1.ObjectMeta{Name: webhookName},
		Webhooks: []admissionregv1.MutatingWebhook{{
			Name: "pods.detnet.dev", AdmissionReviewVersions: []string{"v1"}, FailurePolicy: &fail, SideEffects: &none,
			ClientConfig:      admissionregv1.WebhookClientConfig{URL: &url, CABundle: authority},
			NamespaceSelector: &metav1.LabelSelector{MatchLabels: map[string]string{corev1.LabelMetadataName: namespace}},
			ObjectSelector:    &metav1.LabelSelector{MatchExpressions: []metav1.LabelSelectorRequirement{{Key: workload.LabelPriority, Operator: metav1.LabelSelectorOpExists}}},
			Rules: []admissionregv1.RuleWithOperations{{
				Operations: []admissionregv1.OperationType{admissionregv1.Create},
				Rule:       admissionregv1.Rule{APIGroups: []string{""}, APIVersions: []string{"v1"}, Resources: []string{"pods"}},
			}},
		}},
	}, metav1.CreateOptions{})
	if err != nil {
		return fmt.Errorf("have the API server ask the webhook: %w", err)
	}
	const patience = 30 * time.Second
	for begun := time.Now(); time.Since(begun) < patience; {
		p := podOf(namespace, "asked", "")
		p.Labels = map[string]string{workload.LabelPriority: "best-effort"}
		made, err := c.client.CoreV1().Pods(namespace).Create(ctx, p, metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}})
		if err == nil && made.Annotations[workload.AnnotationSignature] != "" {
			return nil
		}
		if err := sleep(ctx, 100*time.Millisecond); err != nil {
			return err
		}
	}
	return errors.New("the webhook stamps nothing")
}

func (c *cluster) priorityClasses(ctx context.Context) error {
	never := corev1.PreemptNever
	for _, class := range []*schedulingv1.PriorityClass{
		{ObjectMeta: metav1.ObjectMeta{Name: "detnet-critical"}, Value: 1_000_000},
		{ObjectMeta: metav1.ObjectMeta{Name: "detnet-high"}, Value: 100_000},
		{ObjectMeta: metav1.ObjectMeta{Name: "detnet-best-effort"}, Value: -100, PreemptionPolicy: &never},
	} {
		if _, err := c.client.SchedulingV1().PriorityClasses().Create(ctx, class, metav1.CreateOptions{}); err != nil {
			return fmt.Errorf("make PriorityClass %s: %w", class.Name, err)
		}
	}
	return nil
}

const webhookMetric = "detnet_webhook_duration_seconds"

// startWebhook starts the real webhook.
func startWebhook(ctx context.Context, o options, c *cluster, dir string) (*replica, error) {
	w := &replica{metrics: fmt.Sprintf("127.0.0.1:%d", webhookPort+1), log: filepath.Join(dir, "webhook.log"), health: fmt.Sprintf("127.0.0.1:%d", webhookPort+2)}
	w.process = exec.CommandContext(ctx, o.webhook, fmt.Sprintf("--port=%d", webhookPort), "--cert-dir="+dir, "--metrics-addr="+w.metrics, "--health-addr="+w.health, "--webhook-config="+webhookName, "--log-format=text")
	w.process.Env = append(os.Environ(), "KUBECONFIG="+c.kubeconfig, "POD_NAMESPACE="+own, "GOGC=400", "DETNET_MEMORY_LIMIT=536870912") // as in the chart
	return w, w.start()
}

// ready reports whether it says that it is.
func (r *replica) ready(ctx context.Context) bool {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+r.health+"/readyz", nil)
	if err != nil {
		return false
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return false
	}
	defer response.Body.Close()
	return response.StatusCode == http.StatusOK
}

// histogram is one without labels; nil: there is none yet.
func (r *replica) histogram(ctx context.Context, name string) (*dto.Histogram, error) {
	families, err := r.scrape(ctx)
	if err != nil {
		return nil, err
	}
	if f := families[name]; f != nil && len(f.Metric) == 1 && f.Metric[0].GetHistogram().GetSampleCount() > 0 {
		return f.Metric[0].GetHistogram(), nil
	}
	return nil, nil
}
