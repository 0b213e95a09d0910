#include <berth/git/failure.h>
#include <berth/git/files.h>
#include <berth/git/hardened.h>
#include <berth/git/objects.h>
#include <berth/git/opened.h>
#include <berth/git/patient_stream.h>
#include <berth/git/remote_fetch.h>

#include <git2.h>

#include <memory>
#include <optional>
#include <string_view>

namespace berth::git::detail {
namespace {

constexpr const char* kBranches = "+refs/heads/*:refs/remotes/origin/*";
constexpr int kAttemptsMax = 3;

struct Source {
  bool local = false;
  bool sha256 = false;
  bool for_command = false;
};

/// Whether libgit2 can fetch from it. Its local transport takes the cut of a shallow history for
/// damage.
Result<Source> look_at(const RemoteUrl& url, const CacheRequest& request) {
  Source source;
  source.local = url.kind == RemoteUrl::Kind::local;
  if (!source.local) return source;
  Result<Location> location = locate(url.url);
  if (!location) {
    return fail(ErrorKind::not_found, "remote_not_found", location.error().message);
  }
  Result<void> supported = check_supported(*location);
  const bool shallow = kind_of(location->common_dir + "/shallow") == PathKind::file;
  source.for_command = shallow || (!supported && supported.error().kind == ErrorKind::unsupported);
  if (!supported && !source.for_command) return fail(std::move(supported).error());
  source.sha256 = !supported && std::string_view(supported.error().code) == "git_sha256";
  if (source.for_command && request.command == nullptr) {
    if (!supported) return fail(std::move(supported).error());
    return fail(ErrorKind::unsupported, "git_shallow_source",
                url.url + ": has a history that is cut off, which takes the git command to read");
  }
  return source;
}

/// What the callbacks of one fetch share.
struct Conversation {
  const RemoteUrl& url;
  const CacheRequest& request;
  int attempts = 0;
  bool used_url = false;
  bool refused = false;
  bool untrusted = false;
  std::optional<Error> failure;
};

int give(git_credential** out, const Credential& credential, unsigned allowed) {
  const char* user = credential.user.c_str();
  if (!credential.password.empty() && (allowed & GIT_CREDENTIAL_USERPASS_PLAINTEXT) != 0) {
    return git_credential_userpass_plaintext_new(out, user, credential.password.c_str());
  }
  if ((allowed & GIT_CREDENTIAL_SSH_KEY) == 0) return GIT_EAUTH;
  if (!credential.private_key.empty()) {
    const char* key = credential.public_key.empty() ? nullptr : credential.public_key.c_str();
    return git_credential_ssh_key_new(out, user, key, credential.private_key.c_str(),
                                      credential.passphrase.c_str());
  }
  return credential.ssh_agent ? git_credential_ssh_key_from_agent(out, user) : GIT_EAUTH;
}

bool is_same_host(const char* asked, const RemoteUrl& url) {
  Result<RemoteUrl> other = parse_remote_url(asked != nullptr ? asked : "");
  return other && other->host == url.host && other->port == url.port && other->kind == url.kind;
}

int on_credentials(git_credential** out, const char* asked, const char* user, unsigned allowed,
                   void* payload) {
  auto& talk = *static_cast<Conversation*>(payload);
  const std::string name = user != nullptr && user[0] != '\0' ? user : talk.url.user;
  talk.refused = true;
  // A redirect must not carry the secret to another host.
  if (!is_same_host(asked, talk.url)) return GIT_EAUTH;
  if ((allowed & GIT_CREDENTIAL_USERNAME) != 0) {
    return name.empty() ? GIT_EAUTH : git_credential_username_new(out, name.c_str());
  }
  if (!talk.url.password.empty() && !talk.used_url) {
    talk.used_url = true;
    return give(out, {.user = talk.url.user, .password = talk.url.password}, allowed);
  }
  if (talk.request.credentials == nullptr || ++talk.attempts > kAttemptsMax) return GIT_EAUTH;
  Result<Credential> credential =
      talk.request.credentials->get({.url = redacted(talk.url.url),
                                     .user = name,
                                     .password = (allowed & GIT_CREDENTIAL_USERPASS_PLAINTEXT) != 0,
                                     .ssh_key = (allowed & GIT_CREDENTIAL_SSH_KEY) != 0,
                                     .attempt = talk.attempts});
  if (!credential) {
    if (credential.error().kind != ErrorKind::not_found) talk.failure = credential.error();
    return GIT_EAUTH;
  }
  if (credential->user.empty()) credential->user = name;
  return give(out, *credential, allowed);
}

int on_certificate(git_cert*, int valid, const char*, void* payload) {
  if (valid != 0) return 0;
  static_cast<Conversation*>(payload)->untrusted = true;
  return GIT_ECERTIFICATE;
}

int on_transfer(const git_indexer_progress* stats, void* payload) {
  const auto& talk = *static_cast<Conversation*>(payload);
  if (talk.request.progress) {
    talk.request.progress({.objects = stats->total_objects,
                           .received = stats->received_objects,
                           .indexed = stats->indexed_objects,
                           .bytes = stats->received_bytes});
  }
  return talk.request.patience.exhausted() ? GIT_EUSER : 0;
}

int on_message(const char*, int, void* payload) {
  return static_cast<Conversation*>(payload)->request.patience.exhausted() ? GIT_EUSER : 0;
}

/// libgit2's texts may name what it was given, which holds no secret; what a server says about
/// itself is shown as it is.
Error failed_fetch(int rc, const Conversation& talk) {
  const std::string shown = redacted(talk.url.url);
  if (Result<void> patient = talk.request.patience.check("fetch"); !patient) {
    return patient.error();
  }
  if (talk.failure) return *talk.failure;
  const Error error = libgit2_error(rc, shown);
  const auto says = [&](std::string_view text) {
    return error.message.find(text) != std::string::npos;
  };
  if (says("leads to another host")) {
    return make_error(ErrorKind::denied, "remote_redirected", error.message);
  }
  if (talk.untrusted || rc == GIT_ECERTIFICATE || says("certificate")) {
    return make_error(ErrorKind::denied, "remote_untrusted", error.message);
  }
  if (rc == GIT_EAUTH || says("401") || says("403") || says("uthentication") ||
      (talk.refused && says("redentials"))) {
    return make_error(ErrorKind::denied, "remote_denied", error.message);
  }
  if (says("404") || says("not found") || says("does not exist")) {
    return make_error(ErrorKind::not_found, "remote_not_found", error.message);
  }
  if (error.kind != ErrorKind::internal && error.kind != ErrorKind::not_found) return error;
  return make_error(ErrorKind::unavailable, "remote_unavailable", error.message);
}

/// `id` is what the remote's default branch is on. HEAD is detached there: git wants a branch of
/// `refs/heads` or a commit.
void point_heads(const std::string& path, const std::string& branch, const std::string& id) {
  if (branch.empty() || id.empty()) return;
  const std::string ref = "refs/remotes/origin/" + branch;
  static_cast<void>(make_folders(path + "/refs/remotes/origin"));
  static_cast<void>(write_file(path + "/refs/remotes/origin/HEAD", "ref: " + ref + "\n"));
  static_cast<void>(write_file(path + "/HEAD", id + "\n"));
}

constexpr std::string_view kHeads = "refs/heads/";

/// The remote's default branch, once it was connected.
std::string default_branch(git_remote* remote) {
  git_buf name = GIT_BUF_INIT;
  std::string branch;
  if (git_remote_default_branch(&name, remote) == 0) {
    const std::string_view text(name.ptr, name.size);
    if (text.starts_with(kHeads)) branch = text.substr(kHeads.size());
  }
  git_buf_dispose(&name);
  return branch;
}

Result<Fetched> fetch_by_library(const std::string& path, const RemoteUrl& url,
                                 const CacheRequest& request) {
  Handle<git_repository> repository;
  int rc = git_repository_open_bare(out(repository), path.c_str());
  if (rc != 0) return libgit2_fail(rc, path);
  git_remote_create_options options = GIT_REMOTE_CREATE_OPTIONS_INIT;
  options.repository = repository.get();
  options.fetchspec = kBranches;
  options.flags = GIT_REMOTE_CREATE_SKIP_INSTEADOF;
  git_remote* made = nullptr;
  rc = git_remote_create_with_opts(&made, url.url.c_str(), &options);
  if (rc != 0) return libgit2_fail(rc, redacted(url.url));
  const std::unique_ptr<git_remote, void (*)(git_remote*)> remote(made, git_remote_free);

  Conversation talk{.url = url, .request = request};
  git_fetch_options fetch = GIT_FETCH_OPTIONS_INIT;
  fetch.callbacks.credentials = on_credentials;
  if (url.kind == RemoteUrl::Kind::https) fetch.callbacks.certificate_check = on_certificate;
  fetch.callbacks.transfer_progress = on_transfer;
  fetch.callbacks.sideband_progress = on_message;
  fetch.callbacks.payload = &talk;
  fetch.prune = GIT_FETCH_PRUNE;
  fetch.update_fetchhead = 0;
  fetch.download_tags = GIT_REMOTE_DOWNLOAD_TAGS_ALL;
  fetch.follow_redirects = GIT_REMOTE_REDIRECT_INITIAL;
  fetch.proxy_opts.type = request.proxy.empty() ? GIT_PROXY_NONE : GIT_PROXY_SPECIFIED;
  if (!request.proxy.empty()) fetch.proxy_opts.url = request.proxy.c_str();
  // Behind a proxy nobody sees where a redirect leads.
  if (!request.proxy.empty()) fetch.follow_redirects = GIT_REMOTE_REDIRECT_NONE;
  const PatientConnections patient(request.patience, request.proxy.empty() ? url.host : "",
                                   url.port);
  git_error_clear();
  rc = git_remote_fetch(remote.get(), nullptr, &fetch, "berth: fetch");
  if (rc != 0) return fail(failed_fetch(rc, talk));
  Fetched fetched{.default_branch = default_branch(remote.get())};
  const std::string ref = "refs/remotes/origin/" + fetched.default_branch;
  point_heads(path, fetched.default_branch, ref_target(repository.get(), ref).value_or(""));
  return fetched;
}

Result<Fetched> fetch_by_command(const std::string& path, const RemoteUrl& url,
                                 const CacheRequest& request) {
  Location location{.git_dir = path, .common_dir = path};
  HardenedGit git(*request.command, location, request.patience);
  git.allow_transport("file");
  Result<std::string> done =
      git.run({"fetch", "--quiet", "--prune", "--tags", "--no-write-fetch-head",
               "--no-auto-maintenance", "--no-recurse-submodules", "--update-shallow",
               "--upload-pack=git-upload-pack", "--", "file://" + url.url, kBranches});
  if (!done) return fail(std::move(done).error());
  Result<std::string> head = git.run({"ls-remote", "--symref", "file://" + url.url, "HEAD"});
  if (!head) return fail(std::move(head).error());
  Fetched fetched{.backend = Backend::git_command};
  // "ref: refs/heads/main\tHEAD"
  const std::string prefix = "ref: " + std::string(kHeads);
  if (head->starts_with(prefix)) {
    fetched.default_branch = head->substr(prefix.size(), head->find('\t') - prefix.size());
  }
  const std::string ref = "refs/remotes/origin/" + fetched.default_branch;
  Result<std::string> id = git.run({"rev-parse", "--verify", "--quiet", ref});
  if (id) point_heads(path, fetched.default_branch, without_newline(*std::move(id)));
  return fetched;
}

}  // namespace

Result<void> init_clone(const std::string& path, const RemoteUrl& url,
                        const CacheRequest& request) {
  Result<Source> source = look_at(url, request);
  if (!source) return fail(std::move(source).error());
  if (source->sha256) {
    HardenedGit git(*request.command, {.git_dir = path, .common_dir = path}, request.patience);
    Result<std::string> made =
        git.run({"init", "--quiet", "--bare", "--object-format=sha256", "--template=", path});
    if (!made) return fail(std::move(made).error());
  } else {
    git_repository_init_options options = GIT_REPOSITORY_INIT_OPTIONS_INIT;
    options.flags = GIT_REPOSITORY_INIT_BARE | GIT_REPOSITORY_INIT_MKPATH;
    Handle<git_repository> repository;
    const int rc = git_repository_init_ext(out(repository), path.c_str(), &options);
    if (rc != 0) return libgit2_fail(rc, path);
  }
  Handle<git_config> config;
  int rc = git_config_open_ondisk(out(config), (path + "/config").c_str());
  // So that git in a worktree can push; it asks for a password itself.
  if (rc == 0) rc = git_config_set_string(config.get(), "remote.origin.url", url.url.c_str());
  if (rc == 0) rc = git_config_set_string(config.get(), "remote.origin.fetch", kBranches);
  if (rc != 0) return libgit2_fail(rc, path + "/config");
  return {};
}

Result<Fetched> fetch_into(const std::string& path, const RemoteUrl& url,
                           const CacheRequest& request) {
  if (Result<void> patient = request.patience.check("fetch"); !patient) {
    return fail(std::move(patient).error());
  }
  Result<Source> source = look_at(url, request);
  if (!source) return fail(std::move(source).error());
  return source->for_command ? fetch_by_command(path, url, request)
                             : fetch_by_library(path, url, request);
}

}  // namespace berth::git::detail
