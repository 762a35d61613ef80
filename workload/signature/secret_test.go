package signature

import (
	"bytes"
	"log/slog"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"github.com/detnet/detnet/internal/apitest"
	"github.com/detnet/detnet/internal/await"
)

func TestAdvance(t *testing.T) {
	now := time.Date(2026, 1, 31, 12, 0, 0, 0, time.UTC)
	since := func(d time.Duration) []byte { return []byte(now.Add(-d).Format(time.RFC3339)) }
	key, older := newKey(), newKey()
	secret := func(data map[string][]byte) *corev1.Secret { return &corev1.Secret{Data: data} }
	for _, c := range []struct {
		name     string
		have     *corev1.Secret
		last     map[string][]byte
		same     bool
		previous Key
	}{
		{"missing", nil, nil, false, nil},
		{"empty", secret(nil), map[string][]byte{dataCurrent: key}, false, nil},
		{"too short", secret(map[string][]byte{dataCurrent: key[:8]}), nil, false, nil},
		{"young", secret(map[string][]byte{dataCurrent: key, dataPrevious: older, dataSince: since(Rotation - time.Second)}), nil, true, nil},
		{"due", secret(map[string][]byte{dataCurrent: key, dataPrevious: older, dataSince: since(Rotation)}), nil, false, key},
		{"of unknown age", secret(map[string][]byte{dataCurrent: key, dataSince: []byte("yesterday")}), nil, false, key},
		{"from the future", secret(map[string][]byte{dataCurrent: key, dataSince: since(-Rotation)}), nil, true, nil},
	} {
		s := Secret{last: c.last}
		data, due := s.advance(c.have, now)
		if c.same != (data == nil) || c.same && !due.After(now) {
			t.Errorf("%s: data %v, due %v", c.name, data, due)
		}
		if data != nil && (!usable(data) || bytes.Equal(data[dataCurrent], key) || !bytes.Equal(data[dataPrevious], c.previous)) {
			t.Errorf("%s: keys %v, previous %v", c.name, Key(data[dataCurrent]), Key(data[dataPrevious]))
		}
	}
	s := Secret{last: map[string][]byte{dataCurrent: key}}
	if data, _ := s.advance(nil, now); !bytes.Equal(data[dataCurrent], key) {
		t.Error("a Secret that was deleted gets another key: every running pod would have to be signed anew")
	}
}

// Two programs start at once without a Secret, with the permissions that the
// package states and no more: they end with the same key, and keep it when the
// Secret is deleted, and have a new one when it is emptied.
func TestReplicasAgreeOnAKey(t *testing.T) {
	env := apitest.Start(t)
	admin := kubernetes.NewForConfigOrDie(env.Config)
	permit(t, admin)
	config := rest.CopyConfig(env.Config)
	config.Impersonate = rest.ImpersonationConfig{UserName: "stamper"}
	const replicas = 3
	var all [replicas]*Secret
	told := make(chan Keys, 64)
	for i := range all {
		all[i] = &Secret{
			Client: kubernetes.NewForConfigOrDie(config), Namespace: "default", Log: slog.New(slog.NewTextHandler(t.Output(), nil)),
			OnChange: func(k Keys) { told <- k },
		}
		ended := make(chan error, 1)
		go func() { ended <- all[i].Start(t.Context()) }()
		t.Cleanup(func() {
			if err := <-ended; err != nil {
				t.Error(err)
			}
		})
	}
	first := agreed(t, all[:], nil)
	if k := <-told; k.Current.ID() != first.ID() {
		t.Errorf("told key %v, in force is %v", k.Current, first)
	}
	secrets := admin.CoreV1().Secrets("default")
	if err := secrets.Delete(t.Context(), SecretName, metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	await.Until(t, "the Secret was made again with the key it had", func() bool {
		secret, err := secrets.Get(t.Context(), SecretName, metav1.GetOptions{})
		return err == nil && bytes.Equal(secret.Data[dataCurrent], first)
	})
	secret, err := secrets.Get(t.Context(), SecretName, metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	secret.Data = nil
	if _, err := secrets.Update(t.Context(), secret, metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
	agreed(t, all[:], first)
}

// agreed waits until all have the same key, another than before.
func agreed(t *testing.T, all []*Secret, before Key) Key {
	t.Helper()
	await.Until(t, "all have the same key", func() bool {
		for _, s := range all {
			k := s.Keys().Current
			if len(k) == 0 || bytes.Equal(k, before) || !bytes.Equal(k, all[0].Keys().Current) {
				return false
			}
		}
		return true
	})
	return all[0].Keys().Current
}

func permit(t *testing.T, admin kubernetes.Interface) {
	t.Helper()
	meta := metav1.ObjectMeta{Namespace: "default", Name: "stamper"}
	role := &rbacv1.Role{ObjectMeta: meta, Rules: []rbacv1.PolicyRule{
		{APIGroups: []string{""}, Resources: []string{"secrets"}, ResourceNames: []string{SecretName}, Verbs: []string{"get", "list", "watch", "update"}},
		{APIGroups: []string{""}, Resources: []string{"secrets"}, Verbs: []string{"create"}},
	}}
	binding := &rbacv1.RoleBinding{
		ObjectMeta: meta, Subjects: []rbacv1.Subject{{Kind: rbacv1.UserKind, Name: "stamper"}},
		RoleRef: rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "Role", Name: "stamper"},
	}
	if _, err := admin.RbacV1().Roles("default").Create(t.Context(), role, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	if _, err := admin.RbacV1().RoleBindings("default").Create(t.Context(), binding, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
}
