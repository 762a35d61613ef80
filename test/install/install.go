// Package install puts detnet on a sandbox the way users do: images, Cilium's
// CRDs, and the Helm chart. Where a user's cluster has Cilium to enforce the
// limits, the sandbox has the agent.
package install

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"github.com/detnet/detnet/controller/status"
	"github.com/detnet/detnet/test/sandbox"
	"github.com/detnet/detnet/test/sandbox/image"
)

// Tag of the images that BuildImages makes.
const Tag = "dev"

// Namespace of the install.
const Namespace = "detnet"

// root of the checkout: this file is test/install/install.go.
func root() string {
	_, file, _, _ := runtime.Caller(0)
	return filepath.Dir(filepath.Dir(filepath.Dir(file)))
}

// BuildImages builds detnet's images and that of the demo's traffic, and returns the
// archives to load.
func BuildImages(ctx context.Context) ([]string, error) {
	dist := filepath.Join(root(), "dist")
	archives := []string{filepath.Join(dist, "detnet-images.tar"), filepath.Join(dist, "traffic-image.tar")}
	if err := goCommand(ctx, "run", "./image", "-o", archives[0], "-tag", Tag); err != nil {
		return nil, fmt.Errorf("build detnet's images: %w", err)
	}
	binary := filepath.Join(dist, "traffic")
	if err := goCommand(ctx, "build", "-trimpath", "-ldflags=-s -w", "-o", binary, "./traffic"); err != nil {
		return nil, fmt.Errorf("build the demo's traffic: %w", err)
	}
	traffic, err := image.New("detnet.local/traffic:"+Tag, binary, runtime.GOARCH)
	if err != nil {
		return nil, err
	}
	return archives, image.Write(archives[1], traffic)
}

// goCommand runs the go command in the test module.
func goCommand(ctx context.Context, args ...string) error {
	cmd := exec.CommandContext(ctx, "go", args...)
	cmd.Dir = filepath.Join(root(), "test")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("go %s: %w: %s", args[0], err, out)
	}
	return nil
}

// Detnet gives the cluster Cilium's kinds and installs the chart, whose agents
// enforce the limits. It returns when the install is ready.
func Detnet(ctx context.Context, cluster *sandbox.Cluster, values map[string]string) error {
	if err := cluster.ApplyCiliumCRDs(ctx); err != nil {
		return err
	}
	return Chart(ctx, cluster, values, "--set", "agent.enforce=tc")
}

// Chart installs the chart with the given values on top of the sandbox's, or
// upgrades an install to them, and returns when it is ready. More are further
// arguments for helm.
func Chart(ctx context.Context, cluster *sandbox.Cluster, values map[string]string, more ...string) error {
	args := []string{"upgrade", "--install", "detnet", filepath.Join(root(), "charts", "detnet"),
		"--namespace", Namespace, "--create-namespace", "--wait", "--timeout", "5m",
		"--set", "image.tag=" + Tag, "--set", "image.pullPolicy=Never"}
	args = append(args, more...)
	for _, name := range slices.Sorted(maps.Keys(values)) {
		args = append(args, "--set", name+"="+values[name])
	}
	if _, err := cluster.Helm(ctx, args...); err != nil {
		return fmt.Errorf("install detnet: %w", err)
	}
	return nil
}

// Uninstall removes it.
func Uninstall(ctx context.Context, cluster *sandbox.Cluster) error {
	if _, err := cluster.Helm(ctx, "uninstall", "detnet", "--namespace", Namespace, "--wait", "--timeout", "3m"); err != nil {
		return fmt.Errorf("uninstall detnet: %w", err)
	}
	return nil
}

// Status asks the controller's leader for its status page's data.
func Status(ctx context.Context, cluster *sandbox.Cluster) (status.Status, error) {
	config, err := cluster.RESTConfig()
	if err != nil {
		return status.Status{}, err
	}
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return status.Status{}, err
	}
	pods, err := client.CoreV1().Pods(Namespace).List(ctx, metav1.ListOptions{LabelSelector: "app.kubernetes.io/component=controller"})
	if err != nil {
		return status.Status{}, fmt.Errorf("find the controller's pods: %w", err)
	}
	err = fmt.Errorf("none of %d controller pods leads", len(pods.Items))
	for _, pod := range pods.Items {
		// No network policy is in the way of a pod's own node.
		beside := func(ctx context.Context, network, addr string) (net.Conn, error) {
			return cluster.DialFrom(ctx, pod.Spec.NodeName, network, addr)
		}
		caller := &http.Client{Transport: &http.Transport{DialContext: beside, DisableKeepAlives: true}, Timeout: 2 * time.Second}
		s, getErr := get(ctx, caller, "http://"+net.JoinHostPort(pod.Status.PodIP, "8082")+"/status")
		if getErr != nil {
			err = fmt.Errorf("%w; %s: %w", err, pod.Name, getErr)
			continue
		}
		if s.Leader {
			return s, nil
		}
	}
	return status.Status{}, err
}

func get(ctx context.Context, caller *http.Client, url string) (s status.Status, err error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return s, err
	}
	response, err := caller.Do(request)
	if err != nil {
		return s, err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return s, fmt.Errorf("get %s: %s", url, response.Status)
	}
	return s, json.NewDecoder(response.Body).Decode(&s)
}

// AwaitMeasured waits until the controller sees apps critical workloads and
// senders throttleable ones, and is blind to none of them.
func AwaitMeasured(ctx context.Context, cluster *sandbox.Cluster, apps, senders int) error {
	ctx, cancel := context.WithTimeout(ctx, 3*time.Minute)
	defer cancel()
	for {
		s, err := Status(ctx, cluster)
		if err == nil && measured(s, apps, senders) {
			return nil
		}
		select {
		case <-ctx.Done():
			seen, _ := json.Marshal(s)
			return fmt.Errorf("wait until the controller measures %d workloads and %d senders: %w (last error: %w; last status: %s)", apps, senders, ctx.Err(), err, seen)
		case <-time.After(200 * time.Millisecond):
		}
	}
}

func measured(s status.Status, apps, senders int) bool {
	blind := slices.ContainsFunc(s.Apps, func(a status.App) bool { return a.State == status.Blind })
	unknown := slices.ContainsFunc(s.Senders, func(x status.Sender) bool { return !x.Known })
	return len(s.Apps) == apps && len(s.Senders) == senders && !blind && !unknown
}
