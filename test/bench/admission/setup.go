package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"os"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"github.com/detnet/detnet/test/install"
	"github.com/detnet/detnet/test/sandbox"
)

// The namespace that the webhook is called for, and the one it ignores.
const (
	served  = "bench-served"
	ignored = "bench-ignored"
)

// policyFile is the file of the site's policy that reloads change.
const policyFile = "bench.yaml"

// bench is a cluster with detnet on it.
type bench struct {
	cluster *sandbox.Cluster
	client  kubernetes.Interface
	http    *http.Client // reaches pods
}

func setUp(ctx context.Context, values map[string]string) (*bench, error) {
	images, err := install.BuildImages(ctx)
	if err != nil {
		return nil, err
	}
	log := slog.New(slog.NewTextHandler(os.Stderr, nil))
	cluster, err := sandbox.Up(ctx, sandbox.Config{Name: "admission", Nodes: 2, Images: images, Log: log})
	if err != nil {
		return nil, err
	}
	b := &bench{cluster: cluster}
	if err := b.prepare(ctx, values); err != nil {
		return nil, errors.Join(err, cluster.Close())
	}
	return b, nil
}

// prepare installs detnet with all defaults of the webhook but two: it must not
// be possible to miss it (Fail), and one namespace does without it.
func (b *bench) prepare(ctx context.Context, values map[string]string) error {
	all := map[string]string{
		"webhook.failurePolicy":     "Fail",
		"webhook.ignoreNamespaces":  "{" + ignored + "}",
		"policy.files.bench\\.yaml": policyGeneration(0),
		"controller.replicas":       "1",
		"controller.mode":           "off",
	}
	maps.Copy(all, values)
	if err := install.Detnet(ctx, b.cluster, all); err != nil {
		return err
	}
	config, err := b.cluster.RESTConfig()
	if err != nil {
		return err
	}
	config.QPS = -1 // the bench sets the pace
	config.ContentType = "application/vnd.kubernetes.protobuf"
	config.WarningHandler = rest.NoWarnings{}
	if b.client, err = kubernetes.NewForConfig(config); err != nil {
		return fmt.Errorf("make a client of the sandbox's API server: %w", err)
	}
	b.http = &http.Client{Transport: &http.Transport{DialContext: b.cluster.Dial, DisableKeepAlives: true}, Timeout: 5 * time.Second}
	for _, name := range []string{served, ignored} {
		namespace := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name}}
		if _, err := b.client.CoreV1().Namespaces().Create(ctx, namespace, metav1.CreateOptions{}); err != nil {
			return err
		}
		// Pods are refused until their namespace has its service account.
		if err := wait.PollUntilContextTimeout(ctx, 100*time.Millisecond, time.Minute, true, func(ctx context.Context) (bool, error) {
			return b.create(ctx, name, dryRun).err == nil, nil
		}); err != nil {
			return fmt.Errorf("wait until %s takes pods: %w", name, err)
		}
	}
	return nil
}

// webhookPods lists the replicas that run and are not about to end.
func (b *bench) webhookPods(ctx context.Context) ([]corev1.Pod, error) {
	list, err := b.client.CoreV1().Pods(install.Namespace).List(ctx, metav1.ListOptions{LabelSelector: "app.kubernetes.io/component=webhook"})
	if err != nil {
		return nil, fmt.Errorf("list the webhook's pods: %w", err)
	}
	var running []corev1.Pod
	for _, p := range list.Items {
		if p.DeletionTimestamp == nil && p.Status.Phase == corev1.PodRunning {
			running = append(running, p)
		}
	}
	return running, nil
}

func address(p corev1.Pod, port string) string { return net.JoinHostPort(p.Status.PodIP, port) }
