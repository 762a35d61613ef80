package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/wait"

	"github.com/detnet/detnet/test/install"
)

// disturbance is something that happens to a webhook in production.
type disturbance struct {
	name  string
	every time.Duration // from one's beginning to the next one's; 0: no pause
	once  func(ctx context.Context, b *bench, n int) error
}

var disturbances = []disturbance{
	{name: "rollouts", once: roll},
	{name: "rotations", once: rotate},
	{name: "reloads", every: time.Second, once: reload},
}

// roll replaces all replicas, one by one, as a new version does.
func roll(ctx context.Context, b *bench, _ int) error {
	const deployment = "deployment/detnet-webhook"
	if _, err := b.cluster.Kubectl(ctx, "-n", install.Namespace, "rollout", "restart", deployment); err != nil {
		return fmt.Errorf("restart the webhook: %w", err)
	}
	if _, err := b.cluster.Kubectl(ctx, "-n", install.Namespace, "rollout", "status", deployment, "--timeout=3m"); err != nil {
		return fmt.Errorf("wait for the restarted webhook: %w", err)
	}
	return nil
}

func policyGeneration(n int) string {
	return fmt.Sprintf("classes: {best-effort: {bandwidth: {max: %dM}}}", 500+n%500)
}

// reload changes the policy's ConfigMap, and then a remark on each of the
// webhook's pods: a kubelet refreshes what a pod mounts when the pod changes,
// otherwise once a minute.
func reload(ctx context.Context, b *bench, n int) error {
	config := fmt.Appendf(nil, `{"data":{%q:%q}}`, policyFile, policyGeneration(n+1))
	if _, err := b.client.CoreV1().ConfigMaps(install.Namespace).Patch(ctx, "detnet-policy", types.MergePatchType, config, metav1.PatchOptions{}); err != nil {
		return fmt.Errorf("change the policy: %w", err)
	}
	pods, err := b.webhookPods(ctx)
	if err != nil {
		return err
	}
	remark := fmt.Appendf(nil, `{"metadata":{"annotations":{"bench/policy":"%d"}}}`, n+1)
	for _, p := range pods {
		_, err := b.client.CoreV1().Pods(p.Namespace).Patch(ctx, p.Name, types.MergePatchType, remark, metav1.PatchOptions{})
		if err != nil && !apierrors.IsNotFound(err) {
			return fmt.Errorf("have the kubelet refresh %s: %w", p.Name, err)
		}
	}
	return nil
}

// How detnet rotates by itself: a replacement waits for 10 minutes in the
// bundle before it is used. A certificate's validity begins 5 minutes before it
// is issued. See certs/rotation.go.
const (
	spread = 10 * time.Minute
	skew   = 5 * time.Minute
)

// soon is what is left of the spread when the bench plants a replacement.
const soon = 3 * time.Second

// rotate plants a replacement that looks as if it had been issued almost a
// spread ago. The rest is the webhook's: to have it trusted, to put it to use.
// Rotate returns when every replica serves it.
func rotate(ctx context.Context, b *bench, _ int) error {
	secrets := b.client.CoreV1().Secrets(install.Namespace)
	var planted []byte
	err := wait.PollUntilContextTimeout(ctx, 100*time.Millisecond, time.Minute, true, func(ctx context.Context) (bool, error) {
		secret, err := secrets.Get(ctx, "detnet-webhook-tls", metav1.GetOptions{})
		if err != nil {
			return false, fmt.Errorf("read the certificate: %w", err)
		}
		certPEM, keyPEM, err := replacement(secret.Data[corev1.TLSCertKey], time.Now())
		if err != nil {
			return false, err
		}
		secret.Data["next.crt"], secret.Data["next.key"] = certPEM, keyPEM
		_, err = secrets.Update(ctx, secret, metav1.UpdateOptions{})
		if apierrors.IsConflict(err) {
			return false, nil
		}
		planted = certPEM
		return err == nil, err
	})
	if err != nil {
		return fmt.Errorf("plant a certificate: %w", err)
	}
	block, _ := pem.Decode(planted)
	err = wait.PollUntilContextTimeout(ctx, 200*time.Millisecond, time.Minute, true, func(ctx context.Context) (bool, error) {
		return b.allServe(ctx, block.Bytes)
	})
	if err != nil {
		return fmt.Errorf("wait until the webhook serves a new certificate: %w", err)
	}
	return nil
}

// allServe reports whether all replicas that can be reached show the
// certificate.
func (b *bench) allServe(ctx context.Context, der []byte) (bool, error) {
	pods, err := b.webhookPods(ctx)
	if err != nil {
		return false, err
	}
	serving := 0
	for _, p := range pods {
		shown, err := b.shown(ctx, p)
		if err != nil {
			continue // it starts or ends
		}
		if !slices.Equal(shown.Raw, der) {
			return false, nil
		}
		serving++
	}
	return serving > 0, nil
}

func (b *bench) shown(ctx context.Context, p corev1.Pod) (*x509.Certificate, error) {
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	raw, err := b.cluster.Dial(ctx, "tcp", address(p, "10250"))
	if err != nil {
		return nil, err
	}
	defer raw.Close()
	conn := tls.Client(raw, &tls.Config{InsecureSkipVerify: true}) //nolint:gosec // it looks, and trusts nothing
	if err := conn.HandshakeContext(ctx); err != nil {
		return nil, err
	}
	peers := conn.ConnectionState().PeerCertificates
	if len(peers) == 0 {
		return nil, errors.New("no certificate shown")
	}
	return peers[0], nil
}
