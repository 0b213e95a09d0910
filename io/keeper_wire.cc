#include <berth/io/keeper_wire.h>

#include <signal.h>

#include <array>
#include <cstring>
#include <type_traits>
#include <utility>

namespace berth::inline v0::io::keeper {

namespace {

/// Every code that starting a process can fail with.
constexpr std::array kCodes = {"command_not_found",
                               "command_not_executable",
                               "bad_working_directory",
                               "bad_launch",
                               "os_error",
                               "no_cgroup",
                               "no_cgroup_kill",
                               "no_proc",
                               "bad_keeper_message",
                               "no_limit",
                               "no_landlock"};
constexpr std::uint32_t kListMax = 1 << 20;
constexpr std::size_t kMessageMax = 16 * 1024;

class Writer {
 public:
  explicit Writer(std::string& out) : out_(out) {}

  template <typename Number>
    requires std::is_arithmetic_v<Number>
  bool field(const Number& number) {
    out_.append(reinterpret_cast<const char*>(&number), sizeof(number));
    return true;
  }
  template <typename Enum>
    requires std::is_enum_v<Enum>
  bool choice(const Enum& value, Enum) {
    return field(static_cast<std::uint8_t>(value));
  }
  bool field(const bool& value) { return field(static_cast<std::uint8_t>(value)); }
  bool field(const std::chrono::microseconds& time) {
    return field(static_cast<std::int64_t>(time.count()));
  }
  bool field(const std::string& text) {
    field(static_cast<std::uint32_t>(text.size()));
    out_ += text;
    return true;
  }
  template <typename Item>
  bool field(const std::vector<Item>& list) {
    field(static_cast<std::uint32_t>(list.size()));
    for (const Item& item : list) field(item);
    return true;
  }
  bool field(const std::pair<std::string, std::string>& pair) {
    return field(pair.first) && field(pair.second);
  }

 private:
  std::string& out_;
};

/// Every answer says whether the bytes can be what the other side has written.
class Reader {
 public:
  explicit Reader(std::string_view& rest) : rest_(rest) {}

  template <typename Number>
    requires std::is_arithmetic_v<Number>
  bool field(Number& number) {
    if (rest_.size() < sizeof(number)) return false;
    std::memcpy(&number, rest_.data(), sizeof(number));
    rest_.remove_prefix(sizeof(number));
    return true;
  }
  template <typename Enum>
    requires std::is_enum_v<Enum>
  bool choice(Enum& value, Enum last) {
    std::uint8_t number = 0;
    if (!field(number) || number > static_cast<std::uint8_t>(last)) return false;
    value = static_cast<Enum>(number);
    return true;
  }
  bool field(bool& value) {
    std::uint8_t number = 0;
    if (!field(number) || number > 1) return false;
    value = number == 1;
    return true;
  }
  bool field(std::chrono::microseconds& time) {
    std::int64_t count = 0;
    if (!field(count) || count < 0) return false;
    time = std::chrono::microseconds(count);
    return true;
  }
  bool field(std::string& text) {
    std::uint32_t size = 0;
    if (!field(size) || rest_.size() < size) return false;
    text.assign(rest_.substr(0, size));
    rest_.remove_prefix(size);
    return true;
  }
  template <typename Item>
  bool field(std::vector<Item>& list) {
    std::uint32_t size = 0;
    // An item takes four bytes at least: no count makes us reserve more than was sent.
    if (!field(size) || size > kListMax || size > rest_.size() / 4) return false;
    list.resize(size);
    for (Item& item : list) {
      if (!field(item)) return false;
    }
    return true;
  }
  bool field(std::pair<std::string, std::string>& pair) {
    return field(pair.first) && field(pair.second);
  }

 private:
  std::string_view& rest_;
};

// The layout of each message, once for both directions; `message` is const for the writer.

template <typename Visitor>
bool fields(Visitor& visit, auto& m, const Hello*) {
  return visit.field(m.version) && visit.choice(m.tree_kill, TreeKill::proc_walk) &&
         visit.field(m.clone3) && visit.field(m.child_descriptors_soft) &&
         visit.field(m.tree_end_max_ms) && visit.field(m.instance);
}
template <typename Visitor>
bool fields(Visitor&, auto&, const NewLane*) {
  return true;
}
template <typename Visitor>
bool fields(Visitor& visit, auto& m, const Start*) {
  return visit.field(m.number) && visit.field(m.in_memory) && visit.field(m.spec);
}
template <typename Visitor>
bool fields(Visitor& visit, auto& m, const Kill*) {
  return visit.field(m.number);
}
template <typename Visitor>
bool fields(Visitor& visit, auto& m, const Signal*) {
  return visit.field(m.number) && visit.field(m.signal) && m.signal >= 0 && m.signal <= SIGRTMAX;
}
template <typename Visitor>
bool fields(Visitor& visit, auto& m, const Ready*) {
  return visit.field(m.version) && visit.field(m.cgroup_mount) && visit.field(m.description);
}
template <typename Visitor>
bool fields(Visitor& visit, auto& m, const Failed*) {
  return visit.field(m.number) && visit.choice(m.kind, ErrorKind::internal) &&
         visit.field(m.code) && visit.field(m.message) && visit.field(m.errno_value);
}
template <typename Visitor>
bool fields(Visitor& visit, auto& m, const Started*) {
  return visit.field(m.number) && visit.field(m.pid) && visit.field(m.start_time) && m.pid > 0;
}
template <typename Visitor>
bool fields(Visitor& visit, auto& m, const Stderr*) {
  return visit.field(m.number) && visit.field(m.bytes) && m.bytes.size() <= kStderrMax;
}
template <typename Visitor>
bool fields(Visitor& visit, auto& m, const Ended*) {
  auto& status = m.status;
  return visit.field(m.number) && visit.choice(status.kind, ExitStatus::Kind::killed) &&
         visit.field(status.value) && visit.field(status.usage.user) &&
         visit.field(status.usage.system) && visit.field(status.usage.resident_max);
}
template <typename Visitor>
bool fields(Visitor& visit, auto& m, const Note*) {
  return visit.field(m.text);
}
template <typename Visitor>
bool confinement(Visitor& visit, auto& c) {
  return visit.choice(c.kind, Confinement::Kind::namespaces) && visit.field(c.writable) &&
         visit.field(c.readable) && visit.field(c.hidden) && visit.field(c.bubblewrap) &&
         visit.field(c.helper) && visit.field(c.placed) && visit.field(c.egress_socket) &&
         visit.field(c.egress_port) && visit.field(c.tunnels) && visit.field(c.user_namespace);
}
template <typename Visitor>
bool fields(Visitor& visit, auto& m, const LaunchSpec*) {
  return visit.field(m.command) && visit.field(m.arguments) && visit.field(m.environment) &&
         visit.field(m.working_directory) && visit.field(m.tag) &&
         visit.field(m.limits.address_space) && visit.field(m.limits.open_files) &&
         visit.field(m.limits.user_processes) && visit.field(m.limits.cpu_seconds) &&
         visit.field(m.limits.tree_memory) && visit.field(m.limits.tree_processes) &&
         visit.field(m.limits.tree_cpu_percent) && visit.field(m.limits.count_memory) &&
         confinement(visit, m.confinement);
}

template <typename Message>
void write_message(const Message& message, std::string& packet) {
  packet += static_cast<char>(message.index());
  Writer writer(packet);
  std::visit(
      [&writer](const auto& m) {
        fields(writer, m, static_cast<const std::decay_t<decltype(m)>*>(nullptr));
      },
      message);
}

/// Reads a message of the type that `index` names among the alternatives of Message.
template <typename Message, std::size_t kIndex = 0>
bool read_message(std::size_t index, std::string_view& packet, Message& message) {
  if constexpr (kIndex < std::variant_size_v<Message>) {
    if (index != kIndex) return read_message<Message, kIndex + 1>(index, packet, message);
    using Type = std::variant_alternative_t<kIndex, Message>;
    Type& value = message.template emplace<kIndex>();
    Reader reader(packet);
    return fields(reader, value, static_cast<const Type*>(nullptr));
  } else {
    return false;
  }
}

template <typename Message>
Result<Message> decode(std::string_view& packet) {
  Message message;
  const std::size_t index = packet.empty() ? 0xff : static_cast<unsigned char>(packet.front());
  if (!packet.empty()) packet.remove_prefix(1);
  if (read_message(index, packet, message)) return message;
  packet = {};
  return fail(
      ErrorKind::invalid, "bad_keeper_message",
      "berth and its keeper do not understand each other (message " + std::to_string(index) + ")");
}

}  // namespace

void encode(const Request& request, std::string& packet) {
  write_message(request, packet);
}

void encode(const Report& report, std::string& packet) {
  write_message(report, packet);
}

Result<Request> decode_request(std::string_view& packet) {
  return decode<Request>(packet);
}

Result<Report> decode_report(std::string_view& packet) {
  return decode<Report>(packet);
}

std::string encode_spec(const LaunchSpec& spec) {
  std::string bytes;
  Writer writer(bytes);
  fields(writer, spec, static_cast<const LaunchSpec*>(nullptr));
  return bytes;
}

Result<LaunchSpec> decode_spec(std::string_view bytes) {
  LaunchSpec spec;
  Reader reader(bytes);
  if (fields(reader, spec, static_cast<const LaunchSpec*>(nullptr)) && bytes.empty()) return spec;
  return fail(ErrorKind::invalid, "bad_keeper_message", "the spec of a process is malformed");
}

Failed to_message(std::uint64_t number, const Error& error) {
  // A message may quote a whole PATH.
  return Failed{number, error.kind, error.code, error.message.substr(0, kMessageMax),
                error.errno_value};
}

Error to_error(const Failed& failed) {
  Error error = make_error(failed.kind, "not_started", failed.message);
  for (const char* code : kCodes) {
    if (failed.code == code) error.code = code;
  }
  error.errno_value = failed.errno_value;
  return error;
}

}  // namespace berth::inline v0::io::keeper
