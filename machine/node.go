package machine

import (
	"bytes"
	"context"
	_ "embed"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// nodeLimit is how long node may take for one declaration, nodeAnswer how much
// it may say.
const (
	nodeLimit  = 10 * time.Second
	nodeAnswer = 32 << 20
)

// evaluateScript runs inside node. Its answer comes on a descriptor of its own,
// so that nothing the declaration or its modules print can get between.
//
//go:embed node_evaluate.js
var evaluateScript string

// evaluate runs a declaration with node and returns the JSON of its exports.
// root is what the declaration's directory is called on the host.
func evaluate(ctx context.Context, node, path, root string, environ map[string]string) ([]byte, error) {
	answer, child, err := os.Pipe()
	if err != nil {
		return nil, fmt.Errorf("cannot run node: %w", err)
	}
	defer answer.Close()

	dir := filepath.Dir(path)
	cmd := exec.CommandContext(ctx, node, "--max-old-space-size=256", "--input-type=commonjs", "-e", evaluateScript, path, dir, root)
	cmd.Dir = dir
	for name, value := range environ {
		cmd.Env = append(cmd.Env, name+"="+value)
	}
	cmd.ExtraFiles = []*os.File{child} // descriptor 3
	var complaint bytes.Buffer
	cmd.Stderr = &limitedBuffer{to: &complaint, left: 4096}
	// A process that the declaration left behind may hold the pipes open.
	cmd.WaitDelay = time.Second
	if err := cmd.Start(); err != nil {
		child.Close()
		return nil, fmt.Errorf("cannot run node: %w", err)
	}
	child.Close()

	read := make(chan []byte, 1)
	go func() {
		text, _ := io.ReadAll(io.LimitReader(answer, nodeAnswer+1))
		read <- text
	}()
	err = cmd.Wait()
	answer.SetReadDeadline(time.Now().Add(cmd.WaitDelay))
	text := <-read
	switch {
	case ctx.Err() != nil:
		return nil, errors.New("node did not end in time")
	case len(text) > nodeAnswer:
		return nil, fmt.Errorf("the exports have more than %d MB", nodeAnswer>>20)
	case err != nil && len(text) > 0:
		return nil, errors.New(string(text)) // what the script says of a failure
	case err != nil:
		return nil, fmt.Errorf("node failed: %w%s", err, firstLine(complaint.String()))
	case len(text) == 0:
		return nil, errors.New("the declaration ended node before it could be read")
	}
	return text, nil
}

// firstLine returns the first line of text that says something, behind ": ".
func firstLine(text string) string {
	for line := range strings.Lines(text) {
		if line = strings.TrimSpace(line); line != "" {
			return ": " + line
		}
	}
	return ""
}

// limitedBuffer keeps the beginning of what is written to it.
type limitedBuffer struct {
	to   *bytes.Buffer
	left int
}

func (b *limitedBuffer) Write(p []byte) (int, error) {
	keep := p[:min(len(p), b.left)]
	b.left -= len(keep)
	b.to.Write(keep)
	return len(p), nil
}
