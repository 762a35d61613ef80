package main

import (
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"k8s.io/client-go/kubernetes"

	"github.com/detnet/detnet/controller/leader"
	"github.com/detnet/detnet/test/install"
)

// saveRecording keeps what a law saw and decided in a world, for detnet replay.
func (b *bench) saveRecording(ctx context.Context, world, law string) (err error) {
	config, err := b.cluster.RESTConfig()
	if err != nil {
		return err
	}
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return err
	}
	recording, err := leader.Recording(ctx, client, install.Namespace)
	if err != nil {
		return fmt.Errorf("save the recording of %s in world %s: %w", law, world, err)
	}
	defer recording.Close()
	f, err := os.Create(filepath.Join(b.out, fmt.Sprintf("bench-control-%s-%s.jsonl.gz", world, law)))
	if err != nil {
		return err
	}
	z := gzip.NewWriter(f)
	_, err = io.Copy(z, recording)
	return errors.Join(err, z.Close(), f.Close())
}
