package main

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sync/errgroup"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/cache"
	"sigs.k8s.io/controller-runtime/pkg/envtest"

	"github.com/detnet/detnet/certs"
	"github.com/detnet/detnet/controller/leader"
	"github.com/detnet/detnet/workload"
	"github.com/detnet/detnet/workload/signature"
)

const (
	namespace  = "factory"
	own        = "detnet"
	agentName  = "detnet-agent"
	initial    = "1G"
	creators   = 16 // objects made at once
	keyOctets  = signature.KeyLength
	startUpMax = 3 * time.Minute
)

func nodeName(i int) string { return fmt.Sprintf("node-%d", i) }

// agentAddress and appAddress are different for each node; the first are the
// loopback's.
func agentAddress(i int) string { return fmt.Sprintf("127.77.%d.%d", i/250, i%250+1) }
func appAddress(i int) string   { return fmt.Sprintf("10.77.%d.%d", i/250, i%250+1) }

// cluster is a real API server with the objects of many nodes.
type cluster struct {
	env        *envtest.Environment
	client     kubernetes.Interface
	kubeconfig string
	key        signature.Key
}

func startCluster(ctx context.Context, dir string) (*cluster, error) {
	c := &cluster{env: &envtest.Environment{ControlPlaneStartTimeout: startUpMax, ControlPlaneStopTimeout: time.Minute}, key: make(signature.Key, keyOctets)}
	config, err := c.env.Start()
	if err != nil {
		return nil, fmt.Errorf("start an API server (KUBEBUILDER_ASSETS names the directory with etcd and kube-apiserver): %w", err)
	}
	config.QPS = -1
	if c.client, err = kubernetes.NewForConfig(config); err != nil {
		return nil, errors.Join(err, c.env.Stop())
	}
	if err := c.prepare(ctx, dir); err != nil {
		return nil, errors.Join(err, c.env.Stop())
	}
	return c, nil
}

// prepare makes what a chart would: a user, namespaces, the key of the stamps.
func (c *cluster) prepare(ctx context.Context, dir string) error {
	user, err := c.env.AddUser(envtest.User{Name: "detnet-controller", Groups: []string{"system:masters"}}, nil)
	if err != nil {
		return fmt.Errorf("add a user: %w", err)
	}
	text, err := user.KubeConfig()
	if err != nil {
		return err
	}
	c.kubeconfig = filepath.Join(dir, "kubeconfig")
	if err := os.WriteFile(c.kubeconfig, text, 0o600); err != nil {
		return err
	}
	for _, name := range []string{own, namespace} {
		if err := c.namespace(ctx, name); err != nil {
			return err
		}
	}
	_, _ = rand.Read(c.key) // never fails
	secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: signature.SecretName, Labels: map[string]string{"app.kubernetes.io/managed-by": "detnet"}}, Data: map[string][]byte{"current": c.key}}
	_, err = c.client.CoreV1().Secrets(own).Create(ctx, secret, metav1.CreateOptions{})
	return err
}

// namespace makes one, with the account that pods are created by.
func (c *cluster) namespace(ctx context.Context, name string) error {
	if _, err := c.client.CoreV1().Namespaces().Create(ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name}}, metav1.CreateOptions{}); err != nil {
		return fmt.Errorf("make namespace %s: %w", name, err)
	}
	account := &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Name: "default"}}
	if _, err := c.client.CoreV1().ServiceAccounts(name).Create(ctx, account, metav1.CreateOptions{}); err != nil {
		return fmt.Errorf("make the account of namespace %s: %w", name, err)
	}
	return nil
}

// populate makes the nodes and their pods.
func (c *cluster) populate(ctx context.Context, nodes []*node, pods int) error {
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(creators)
	for _, n := range nodes {
		group.Go(func() error { return c.node(ctx, n, pods) })
	}
	return group.Wait()
}

func (c *cluster) node(ctx context.Context, n *node, pods int) error {
	name := nodeName(n.index)
	object := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{corev1.LabelTopologyZone: fmt.Sprint("zone-", n.index%3)}}}
	if _, err := c.client.CoreV1().Nodes().Create(ctx, object, metav1.CreateOptions{}); err != nil {
		return fmt.Errorf("make node %s: %w", name, err)
	}
	for _, role := range []struct {
		name string
		port int32
	}{{"agent-probe", probePort}, {"agent-node", nodePort}} {
		p := podOf(own, fmt.Sprintf("%s-%d", role.name, n.index), name)
		p.Labels = map[string]string{"app.kubernetes.io/name": "detnet", "app.kubernetes.io/component": role.name}
		p.Spec.Containers[0].Ports = []corev1.ContainerPort{{Name: "grpc", ContainerPort: role.port}}
		if role.port == probePort {
			p.Spec.Containers[0].Ports = append(p.Spec.Containers[0].Ports, corev1.ContainerPort{Name: "reflector", ContainerPort: 862, Protocol: corev1.ProtocolUDP})
		}
		if _, err := c.pod(ctx, p, agentAddress(n.index)); err != nil {
			return err
		}
	}
	app := podOf(namespace, fmt.Sprintf("app-%d", n.index), name)
	c.sign(app, workload.ClassCritical, map[string]string{workload.AnnotationRank: "100", workload.AnnotationMaxJitter: target.String(), workload.AnnotationProbe: "udp:5201"})
	if _, err := c.pod(ctx, app, appAddress(n.index)); err != nil {
		return err
	}
	for i := range pods {
		p := c.bulk(name, fmt.Sprint("bulk-", n.index), i)
		uid, err := c.pod(ctx, p, fmt.Sprintf("10.88.%d.%d", n.index/250, n.index%250+1))
		if err != nil {
			return err
		}
		n.pods = append(n.pods, pod{name: p.Name, uid: uid, offered: calm})
		n.annotated(i, recordOf(p.Annotations), time.Now())
	}
	return nil
}

// bulk is a throttleable pod.
func (c *cluster) bulk(node, of string, i int) *corev1.Pod {
	p := podOf(namespace, fmt.Sprintf("%s-%d", of, i), node)
	c.sign(p, "best-effort", map[string]string{
		workload.AnnotationRank: "10", workload.AnnotationInitialBandwidth: initial, workload.AnnotationEgressBandwidth: initial,
		workload.AnnotationMinBandwidth: "10M", workload.AnnotationMaxBandwidth: initial, workload.AnnotationWeight: "1",
	})
	return p
}

func podOf(in, name, node string) *corev1.Pod {
	return &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: in, Name: name},
		Spec:       corev1.PodSpec{NodeName: node, Containers: []corev1.Container{{Name: "c", Image: "none"}}},
	}
}

// sign stamps a pod as the webhook would.
func (c *cluster) sign(p *corev1.Pod, class string, annotations map[string]string) {
	p.Labels, p.Annotations = map[string]string{workload.LabelClass: class}, annotations
	p.Annotations[workload.AnnotationDecision] = "bench"
	p.Annotations[workload.AnnotationSignature] = signature.Sign(c.key, p.Namespace, p.Labels, p.Annotations)
}

// pod makes a pod that runs.
func (c *cluster) pod(ctx context.Context, p *corev1.Pod, ip string) (uid string, err error) {
	made, err := c.client.CoreV1().Pods(p.Namespace).Create(ctx, p, metav1.CreateOptions{})
	if err != nil {
		return "", fmt.Errorf("make pod %s/%s: %w", p.Namespace, p.Name, err)
	}
	made.Status = corev1.PodStatus{
		Phase: corev1.PodRunning, PodIP: ip, PodIPs: []corev1.PodIP{{IP: ip}},
		Conditions: []corev1.PodCondition{{Type: corev1.PodReady, Status: corev1.ConditionTrue}},
	}
	if _, err := c.client.CoreV1().Pods(p.Namespace).UpdateStatus(ctx, made, metav1.UpdateOptions{}); err != nil {
		return "", fmt.Errorf("have pod %s/%s run: %w", p.Namespace, p.Name, err)
	}
	return string(made.UID), nil
}

// holder is who has the lease.
func (c *cluster) holder(ctx context.Context) (string, error) {
	lease, err := c.client.CoordinationV1().Leases(own).Get(ctx, leader.Lease, metav1.GetOptions{})
	if err != nil {
		return "", fmt.Errorf("read who leads: %w", err)
	}
	if lease.Spec.HolderIdentity == nil {
		return "", nil
	}
	return *lease.Spec.HolderIdentity, nil
}

// follow gives the nodes the annotations of their pods as they change, after a
// delay, and calls written for each change.
func (c *cluster) follow(ctx context.Context, nodes []*node, delay time.Duration, written func()) {
	factory := informers.NewSharedInformerFactoryWithOptions(c.client, 0, informers.WithNamespace(namespace))
	informer := factory.Core().V1().Pods().Informer()
	_, _ = informer.AddEventHandler(cache.ResourceEventHandlerFuncs{UpdateFunc: func(before, after any) { // never fails before the start
		p := after.(*corev1.Pod)
		r := recordOf(p.Annotations)
		var n, i int
		if _, err := fmt.Sscanf(p.Name, "bulk-%d-%d", &n, &i); err != nil || r == recordOf(before.(*corev1.Pod).Annotations) {
			return
		}
		written()
		time.AfterFunc(delay, func() { nodes[n].annotated(i, r, time.Now()) })
	}})
	factory.Start(ctx.Done())
	factory.WaitForCacheSync(ctx.Done())
}

// certificate writes one that controllers, agents and the webhook share, for an hour.
func certificate(dir string) error {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: agentName}, DNSNames: []string{agentName}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		NotBefore: time.Now().Add(-time.Minute), NotAfter: time.Now().Add(time.Hour), KeyUsage: x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return fmt.Errorf("make a certificate: %w", err)
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return err
	}
	text := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	return errors.Join(
		os.WriteFile(filepath.Join(dir, certs.CertFile), text, 0o600), os.WriteFile(filepath.Join(dir, certs.CAFile), text, 0o600),
		os.WriteFile(filepath.Join(dir, certs.KeyFile), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: keyDER}), 0o600),
	)
}
