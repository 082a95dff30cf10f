//! What a large document costs the server.

use std::io::Write;
use std::path::Path;

use leasehold::client::Which;

use crate::full_disk::noise;
use crate::rig::{Server, TIGHT, number, read, within};

/// A state of about `size` bytes as Terraform prints it, with many resources and few repetitions.
fn write_document(file: &Path, size: u64) -> u64 {
    let mut out = std::io::BufWriter::new(std::fs::File::create(file).unwrap());
    let noise = noise(1 << 20);
    let mut written = 0;
    let mut put = |text: &str| {
        out.write_all(text.as_bytes()).unwrap();
        written += text.len() as u64;
        written
    };
    put(
        "{\n  \"version\": 4,\n  \"terraform_version\": \"1.9.0\",\n  \"serial\": 1,\n  \"lineage\": \"3f1f5a7e-6d1c-4d5c-8d4e-0a1b2c3d4e5f\",\n",
    );
    put("  \"outputs\": {},\n  \"resources\": [");
    for n in 0_usize.. {
        let at = n * 977 % (noise.len() - 800);
        let comma = if n == 0 { "" } else { "," };
        let done = put(&format!(
            "{comma}\n    {{\n      \"mode\": \"managed\",\n      \"type\": \"terraform_data\",\n      \"name\": \"r{n}\",\n      \
             \"provider\": \"provider[\\\"terraform.io/builtin/terraform\\\"]\",\n      \"instances\": [\n        {{\n          \
             \"schema_version\": 0,\n          \"attributes\": {{\n            \"id\": \"{n}\",\n            \"input\": {{\n              \
             \"value\": \"{}\",\n              \"type\": \"string\"\n            }}\n          }},\n          \
             \"sensitive_attributes\": []\n        }}\n      ]\n    }}",
            &noise[at..at + 800]
        ));
        if done >= size {
            break;
        }
    }
    let written = put("\n  ]\n}\n");
    out.flush().unwrap();
    written
}

/// The most memory the process ever had, in bytes.
pub(crate) fn peak(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().strip_suffix(" kB").unwrap().trim().parse::<u64>().unwrap() << 10
}

#[test]
fn large_document_costs_at_most_six_times_its_size() {
    let server = Server::start(TIGHT);
    let (file, back) = (server.file("large.tfstate"), server.file("back.tfstate"));
    let size = write_document(&file, number("LEASEHOLD_DOCUMENT_MB", 100) as u64 * 1_000_000);
    let began = crate::rig::now();
    server.ok(&["state", "push", "dev/large", file.to_str().unwrap()]);
    let (pushed, push) = (peak(server.pid()), began.elapsed());
    server.ok(&["state", "pull", "dev/large", "--to", back.to_str().unwrap()]);
    let pulled = peak(server.pid());
    println!("{size} bytes: push {push:?}, both {:?}; peak {} MiB, then {} MiB", began.elapsed(), pushed >> 20, pulled >> 20);
    assert!(std::fs::read(&file).unwrap() == std::fs::read(&back).unwrap(), "other bytes came back");
    let most = (64 << 20) + 6 * size;
    assert!(pushed <= most && pulled <= most, "peak of {pushed}, then {pulled} bytes; {most} are allowed");
}

/// More readers than the memory for documents has room for: they wait before a document is opened, not after.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_large_reads_at_once_cost_what_documents_in_flight_may_cost() {
    const SIZE: u64 = 2_000_000;
    let server = Server::start(&format!("max_in_flight = {}\n{TIGHT}", 2 * SIZE));
    let file = server.file("large.tfstate");
    let size = write_document(&file, SIZE);
    server.ok(&["state", "push", "dev/large", file.to_str().unwrap()]);
    let small = server.file("small.tfstate");
    let small_size = write_document(&small, 1_000);
    server.ok(&["state", "push", "dev/small", small.to_str().unwrap()]);
    let clients: Vec<_> = (0..40).map(|_| server.client()).collect();
    // Connections, threads and caches of the store are there after this; what comes on top is documents.
    read_at_once(clients.clone(), "dev/small", small_size).await;
    let before = peak(server.pid());
    read_at_once(clients, "dev/large", size).await;
    let read = peak(server.pid());
    println!("{} MiB before, {} MiB after 40 reads at once", before >> 20, read >> 20);
    // Six times what may be in flight, as for one document, and what the allocator keeps of it in its arenas, of which glibc has eight for
    // each core: half as much was seen. Without the bound these 40 take 140 MB and more.
    assert!(read <= before + (6 + 4) * 2 * size, "{before} bytes before, {read} after 40 reads at once");
}

async fn read_at_once(clients: Vec<leasehold::client::Client>, state: &'static str, size: u64) {
    let mut readers = tokio::task::JoinSet::new();
    for client in clients {
        readers.spawn(async move { read(&client, state, Which::Current).await.unwrap().len() as u64 });
    }
    while let Some(read) = within("the reads", readers.join_next()).await {
        assert_eq!(read.unwrap(), size);
    }
}
