// io/keeper_wire.h — what berth and its keeper say to each other (private to both).
#pragma once

#include <berth/core/result.h>
#include <berth/io/child_start.h>
#include <berth/io/process_host.h>

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <variant>

/// Packets on SOCK_SEQPACKET socket pairs, each one or more messages one behind the other. A
/// message is a byte that says which, then its fields: numbers as the machine has them (both ends
/// run on one machine), texts and lists with their count before them. The first message on the
/// control socket is Hello with the version: berth and keeper are built together, another version
/// is an error and not a dialect.
///
/// Descriptors travel with the packet whose messages want them, in the order of the messages.
namespace berth::inline v0::io::keeper {

inline constexpr std::uint32_t kVersion = 4;
/// Bytes of a packet; well below the 200 KiB that a socket takes at once by default.
inline constexpr std::size_t kPacketMax = std::size_t{64} * 1024;
/// Bytes of a spec. The kernel's own bound for arguments and environment is 6 MiB at most.
inline constexpr std::size_t kSpecMax = std::size_t{8} * 1024 * 1024;
/// Descriptors of a packet: those of the largest Start.
inline constexpr std::size_t kDescriptorsMax = 3;

/// Bytes of stderr in a report, so that four of them fit into a packet.
inline constexpr std::size_t kStderrMax = kPacketMax / 4 - 64;

// --- berth to keeper ---

struct Hello {
  std::uint32_t version = kVersion;
  TreeKill tree_kill = TreeKill::automatic;
  bool clone3 = true;
  std::uint64_t child_descriptors_soft = 0;
  std::uint64_t tree_end_max_ms = 0;
  /// Names of groups and markers are made with it: see orphans.h.
  std::string instance;
};

/// On the control socket, with one descriptor: another socket, for the requests of one shard.
struct NewLane {};

/// With two descriptors (the child's stdin and stdout), and before them, if `in_memory`, one of a
/// sealed memory file that holds the spec, `spec` being empty then.
struct Start {
  std::uint64_t number = 0;  ///< Berth's name for the child, never used before.
  bool in_memory = false;
  std::string spec;  ///< encode_spec()
};

struct Kill {
  std::uint64_t number = 0;
};

struct Signal {
  std::uint64_t number = 0;
  std::int32_t signal = 0;
};

using Request = std::variant<Hello, NewLane, Start, Kill, Signal>;

// --- keeper to berth ---

struct Ready {
  std::uint32_t version = kVersion;
  std::string cgroup_mount;
  std::string description;
};

/// On the control socket: the keeper cannot work. On a lane: that child was not started.
struct Failed {
  std::uint64_t number = 0;
  ErrorKind kind = ErrorKind::internal;
  std::string code;
  std::string message;
  std::int32_t errno_value = 0;
};

struct Started {
  std::uint64_t number = 0;
  std::int32_t pid = 0;
  std::uint64_t start_time = 0;
};

/// What the child has written to its stderr, in pieces of at most kStderrMax.
struct Stderr {
  std::uint64_t number = 0;
  std::string bytes;
};

/// The child has ended and its tree is gone; its last words were passed on before.
struct Ended {
  std::uint64_t number = 0;
  ExitStatus status;
};

/// For berth's log.
struct Note {
  std::string text;
};

using Report = std::variant<Ready, Failed, Started, Stderr, Ended, Note>;

void encode(const Request& request, std::string& packet);
void encode(const Report& report, std::string& packet);

/// Cuts the next message off `packet`. Error `invalid` ("bad_keeper_message") for what the other
/// side cannot have written; a number out of its range counts as that.
Result<Request> decode_request(std::string_view& packet);
Result<Report> decode_report(std::string_view& packet);

std::string encode_spec(const LaunchSpec& spec);
Result<LaunchSpec> decode_spec(std::string_view bytes);

Failed to_message(std::uint64_t number, const Error& error);
/// Codes are literals: one that this side does not know reads "not_started".
Error to_error(const Failed& failed);

}  // namespace berth::inline v0::io::keeper
