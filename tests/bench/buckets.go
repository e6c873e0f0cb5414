package main

import (
	"context"
	"fmt"
	"os"
)

// A gateway is an S3 server that shows the set as a bucket.
type gateway struct {
	*process
	at   string // its address
	slow string // of a relay to it, once there is
}

const (
	accessKey = "benchmark"
	secretKey = "the key of a benchmark"
)

// s3Server starts the gateway, once, and returns where a client finds it.
func (st *stage) s3Server(ctx context.Context, slow bool) (endpoint string, err error) {
	if st.gateway == nil {
		if err := st.startGateway(ctx); err != nil {
			return "", err
		}
	}
	g := st.gateway
	if !slow {
		return "http://" + g.at, nil
	}
	if g.slow == "" {
		if g.slow, err = st.slow(g.at, float64(len(shares))); err != nil {
			return "", err
		}
	}
	return "http://" + g.slow, nil
}

func (st *stage) startGateway(ctx context.Context) error {
	program, err := st.bench.find("versitygw")
	if err != nil {
		return err
	}
	sidecar := st.path("sidecar") // so that it writes nothing to the set
	if err := os.Mkdir(sidecar, 0o755); err != nil {
		return err
	}
	g := &gateway{}
	if g.at, err = freeAddress(); err != nil {
		return err
	}
	g.process, err = start(st.path("versitygw.log"), nil, program, "--port", g.at, "--access", accessKey, "--secret", secretKey,
		"--quiet", "--readonly", "posix", "--sidecar", sidecar, st.path("buckets"))
	if err != nil {
		return err
	}
	st.atEnd(g.stop)
	st.gateway = g
	return g.until(ctx, "listen", func() bool { return listens(g.at) })
}

// bucketView is a file system of a bucket, with a cache.
func (st *stage) bucketView(name string, slow bool, args func(v *view, endpoint string) []string) func(ctx context.Context) (*view, error) {
	if slow {
		name += "+net"
	}
	return func(ctx context.Context) (*view, error) {
		endpoint, err := st.s3Server(ctx, slow)
		if err != nil {
			return nil, err
		}
		v := &view{dir: st.path("mnt-" + name), caches: []string{st.path("cache-" + name)}, remote: []*process{st.gateway.process}}
		v.mount = func(context.Context) (*process, error) {
			env := []string{"HOME=" + st.path("home"), "AWS_ACCESS_KEY_ID=" + accessKey, "AWS_SECRET_ACCESS_KEY=" + secretKey,
				"AWSACCESSKEYID=" + accessKey, "AWSSECRETACCESSKEY=" + secretKey}
			return start(st.path(name+".log"), env, args(v, endpoint)...)
		}
		v.fetched = func(context.Context) (int64, error) { return wroteOf(st.gateway.process), nil }
		return v, nil
	}
}

// s3fs has the settings its manual gives for reading what does not change.
func s3fs(slow bool) func(ctx context.Context, st *stage) (*view, error) {
	return func(ctx context.Context, st *stage) (*view, error) {
		return st.bucketView("s3fs", slow, func(v *view, endpoint string) []string {
			return []string{"s3fs", st.set.Name, v.dir, "-f", "-o", "url=" + endpoint, "-o", "use_path_request_style,ro,allow_other",
				"-o", "use_cache=" + v.caches[0], "-o", "enable_noobj_cache,stat_cache_expire=3600,max_stat_cache_size=2000000",
				"-o", "parallel_count=16,multipart_size=16"}
		})(ctx)
	}
}

// rclone has the settings its manual gives for reading what does not change,
// with several streams.
func rclone(slow bool) func(ctx context.Context, st *stage) (*view, error) {
	return func(ctx context.Context, st *stage) (*view, error) {
		program, err := st.bench.find("rclone")
		if err != nil {
			return nil, err
		}
		return st.bucketView("rclone", slow, func(v *view, endpoint string) []string {
			remote := fmt.Sprintf(":s3,provider=Other,env_auth,endpoint='%s',force_path_style=true:%s", endpoint, st.set.Name)
			return []string{program, "mount", remote, v.dir, "--config", "/dev/null", "--read-only", "--allow-other", "--vfs-cache-mode", "full",
				"--cache-dir", v.caches[0], "--dir-cache-time", "24h", "--attr-timeout", "1h", "--vfs-cache-max-age", "24h", "--no-checksum",
				"--vfs-read-chunk-size", "4M", "--vfs-read-chunk-streams", "16", "--buffer-size", "16M"}
		})(ctx)
	}
}
