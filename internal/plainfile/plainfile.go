// Package plainfile reads what a flag or a setting names. Whoever gives a pipe or a device there, by a
// mistake, is told so; to read it could take for ever.
package plainfile

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"slices"
	"syscall"
)

// Most is how long a file may be, in bytes: what a ConfigMap or a Secret holds.
const Most = 1 << 20

// Check reports why a file can't be read, or would not end.
func Check(path string) error {
	about, err := os.Stat(path)
	if err != nil {
		return err
	}
	return plain(path, about)
}

func plain(path string, about fs.FileInfo) error {
	if kind := kindOf(about.Mode()); kind != "" {
		return fmt.Errorf("%s is %s: want a file", path, kind)
	}
	return nil
}

// Flags checks the files that flags name, by flag. One that is not there is left to who reads it: some
// come later.
func Flags(named map[string]string) error {
	for _, flag := range slices.Sorted(maps.Keys(named)) {
		if named[flag] == "" {
			continue
		}
		if err := Check(named[flag]); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("%s: %w", flag, err)
		}
	}
	return nil
}

func kindOf(mode fs.FileMode) string {
	switch {
	case mode.IsRegular():
		return ""
	case mode.IsDir():
		return "a directory"
	case mode&fs.ModeNamedPipe != 0:
		return "a pipe"
	case mode&fs.ModeSocket != 0:
		return "a socket"
	}
	return "a device"
}

// Read reads a file of at most Most bytes. No error has any of its content.
func Read(path string) ([]byte, error) {
	if err := Check(path); err != nil {
		return nil, err
	}
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0) // what is a pipe by now is not waited for
	if err != nil {
		return nil, err
	}
	defer f.Close()
	about, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if err := plain(path, about); err != nil {
		return nil, err
	}
	content, err := io.ReadAll(io.LimitReader(f, Most+1))
	if err == nil && len(content) > Most {
		return nil, fmt.Errorf("%s is larger than %d bytes", path, Most)
	}
	return content, err
}
