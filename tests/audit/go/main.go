// Command auditcheck reads logs, proofs and notes of trionyx-audit with the code of Go's checksum database.
//
// It shares nothing with the Python implementation: the note, tree and proof code is golang.org/x/mod/sumdb.
package main

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"sort"
	"strconv"
	"strings"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

func main() {
	var err error
	switch command := os.Args[1]; command {
	case "log":
		err = checkLog(os.Args[2], os.Args[3])
	case "proof":
		err = checkProof(os.Args[2], os.Args[3])
	case "proofs":
		err = printProofs(os.Args[2])
	case "sign":
		err = sign(os.Args[2], os.Args[3])
	default:
		err = fmt.Errorf("unknown command %s", command)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

type tree struct {
	hashes []tlog.Hash // stored hashes, in the order of tlog.StoredHashIndex
	size   int64
}

func (t *tree) ReadHashes(indexes []int64) ([]tlog.Hash, error) {
	found := make([]tlog.Hash, len(indexes))
	for i, index := range indexes {
		found[i] = t.hashes[index]
	}
	return found, nil
}

func (t *tree) push(data []byte) error {
	hashes, err := tlog.StoredHashes(t.size, data, t)
	t.hashes = append(t.hashes, hashes...)
	t.size++
	return err
}

func openCheckpoint(raw []byte, vkey string) (int64, tlog.Hash, error) {
	var root tlog.Hash
	verifier, err := note.NewVerifier(vkey)
	if err != nil {
		return 0, root, err
	}
	signed, err := note.Open(raw, note.VerifierList(verifier))
	if err != nil {
		return 0, root, err
	}
	lines := strings.Split(signed.Text, "\n")
	if len(lines) != 4 || lines[0] != verifier.Name() {
		return 0, root, fmt.Errorf("not a checkpoint of %s", verifier.Name())
	}
	size, err := strconv.ParseInt(lines[1], 10, 64)
	if err != nil {
		return 0, root, err
	}
	root, err = tlog.ParseHash(lines[2])
	return size, root, err
}

func checkLog(directory, vkey string) error {
	raw, err := os.ReadFile(filepath.Join(directory, "checkpoint"))
	if err != nil {
		return err
	}
	size, root, err := openCheckpoint(raw, vkey)
	if err != nil {
		return err
	}
	segments, err := filepath.Glob(filepath.Join(directory, "seg", "*.jsonl"))
	if err != nil {
		return err
	}
	sort.Strings(segments)
	var grown tree
	var roots, leaves []tlog.Hash
	for _, segment := range segments {
		content, err := os.ReadFile(segment)
		if err != nil {
			return err
		}
		for _, line := range bytes.Split(bytes.TrimSuffix(content, []byte("\n")), []byte("\n")) {
			if err := grown.push(line); err != nil {
				return err
			}
			leaves = append(leaves, tlog.RecordHash(line))
			head, err := tlog.TreeHash(grown.size, &grown)
			if err != nil {
				return err
			}
			roots = append(roots, head)
		}
	}
	if grown.size != size || roots[size-1] != root {
		return fmt.Errorf("the records are not those of the checkpoint")
	}
	for i := int64(0); i < size; i++ {
		inclusion, err := tlog.ProveRecord(size, i, &grown)
		if err != nil {
			return err
		}
		if err := tlog.CheckRecord(inclusion, size, root, i, leaves[i]); err != nil {
			return err
		}
		consistency, err := tlog.ProveTree(size, i+1, &grown)
		if err != nil {
			return err
		}
		if err := tlog.CheckTree(consistency, size, root, i+1, roots[i]); err != nil {
			return err
		}
	}
	fmt.Printf("%d records\n", size)
	return nil
}

func checkProof(path, vkey string) error {
	raw, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	head, checkpoint, found := bytes.Cut(raw, []byte("\n\n"))
	lines := strings.Split(string(head), "\n")
	if !found || len(lines) < 3 || lines[0] != "c2sp.org/tlog-proof@v1" {
		return fmt.Errorf("not a proof")
	}
	line, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(lines[1], "extra "))
	if err != nil {
		return err
	}
	index, err := strconv.ParseInt(strings.TrimPrefix(lines[2], "index "), 10, 64)
	if err != nil {
		return err
	}
	var inclusion tlog.RecordProof
	for _, text := range lines[3:] {
		hash, err := tlog.ParseHash(text)
		if err != nil {
			return err
		}
		inclusion = append(inclusion, hash)
	}
	size, root, err := openCheckpoint(checkpoint, vkey)
	if err != nil {
		return err
	}
	if err := tlog.CheckRecord(inclusion, size, root, index, tlog.RecordHash(line)); err != nil {
		return err
	}
	fmt.Printf("record %d of %d\n", index, size)
	return nil
}

// proofs holds, for one tree size, the root and every inclusion and consistency proof.
type proofs struct {
	Root        string     `json:"root"`
	Inclusion   [][]string `json:"inclusion"`   // by leaf index
	Consistency [][]string `json:"consistency"` // by old size, from 1
}

func printProofs(limit string) error {
	most, err := strconv.ParseInt(limit, 10, 64)
	if err != nil {
		return err
	}
	var grown tree
	var all []proofs
	for size := int64(1); size <= most; size++ {
		if err := grown.push([]byte{byte(size - 1)}); err != nil {
			return err
		}
		root, err := tlog.TreeHash(size, &grown)
		if err != nil {
			return err
		}
		entry := proofs{Root: root.String()}
		for i := int64(0); i < size; i++ {
			inclusion, err := tlog.ProveRecord(size, i, &grown)
			if err != nil {
				return err
			}
			consistency, err := tlog.ProveTree(size, i+1, &grown)
			if err != nil {
				return err
			}
			entry.Inclusion = append(entry.Inclusion, texts(inclusion))
			entry.Consistency = append(entry.Consistency, texts(consistency))
		}
		all = append(all, entry)
	}
	return json.NewEncoder(os.Stdout).Encode(all)
}

func texts(hashes []tlog.Hash) []string {
	found := []string{}
	for _, hash := range hashes {
		found = append(found, hash.String())
	}
	return found
}

// sign makes a key for a name, prints its vkey and a note of the text signed with it.
func sign(name, text string) error {
	skey, vkey, err := note.GenerateKey(nil, name)
	if err != nil {
		return err
	}
	signer, err := note.NewSigner(skey)
	if err != nil {
		return err
	}
	signed, err := note.Sign(&note.Note{Text: text}, signer)
	if err != nil {
		return err
	}
	return json.NewEncoder(os.Stdout).Encode(map[string]string{"vkey": vkey, "note": string(signed)})
}
