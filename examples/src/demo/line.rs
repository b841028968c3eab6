//! One address for several servers: connections go to them in turn, as through a load balancer.

use std::{
    collections::HashMap,
    io,
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::{
    io::copy_bidirectional,
    net::{TcpListener, TcpStream},
    task::JoinSet,
};

/// One address for several servers.
#[derive(Debug)]
pub struct Line {
    /// Where it listens.
    pub address: SocketAddr,
    routes: Arc<Mutex<Routes>>,
    _accepting: JoinSet<()>,
}

#[derive(Debug)]
struct Routes {
    nodes: Vec<(&'static str, SocketAddr)>,
    next: usize,
    /// Which node the connections of clients have, by their addresses.
    given: HashMap<SocketAddr, &'static str>,
}

impl Line {
    /// Listens, and leads to these servers.
    ///
    /// # Errors
    ///
    /// When it cannot listen there.
    ///
    /// # Cancel safety
    ///
    /// Nothing is lost if the future is dropped.
    pub async fn start(listen: SocketAddr, nodes: Vec<(&'static str, SocketAddr)>) -> io::Result<Self> {
        let listener = TcpListener::bind(listen).await?;
        let address = listener.local_addr()?;
        let routes = Arc::new(Mutex::new(Routes { nodes, next: 0, given: HashMap::new() }));
        let mut accepting = JoinSet::new();
        accepting.spawn(accept(listener, Arc::clone(&routes)));
        Ok(Self { address, routes, _accepting: accepting })
    }

    /// Leads to another address of a server from now on.
    pub fn moved(&self, name: &str, address: SocketAddr) {
        if let Some(node) = lock(&self.routes).nodes.iter_mut().find(|(of, _)| *of == name) {
            node.1 = address;
        }
    }

    /// The server that the connection of a client leads to.
    #[must_use]
    pub fn node_of(&self, client: SocketAddr) -> Option<&'static str> {
        lock(&self.routes).given.get(&client).copied()
    }
}

/// Takes connections until it is dropped, and they are dropped with it.
async fn accept(listener: TcpListener, routes: Arc<Mutex<Routes>>) {
    let mut connections = JoinSet::new();
    loop {
        let Ok((client, address)) = listener.accept().await else { continue };
        let routes = Arc::clone(&routes);
        connections.spawn(async move {
            let _ = forward(client, address, &routes).await;
            lock(&routes).given.remove(&address);
        });
        while connections.try_join_next().is_some() {}
    }
}

async fn forward(mut client: TcpStream, address: SocketAddr, routes: &Mutex<Routes>) -> io::Result<()> {
    let mut server = connect(address, routes).await?;
    client.set_nodelay(true)?;
    server.set_nodelay(true)?;
    copy_bidirectional(&mut client, &mut server).await?;
    Ok(())
}

/// Connects to the next server that is there.
async fn connect(client: SocketAddr, routes: &Mutex<Routes>) -> io::Result<TcpStream> {
    let tries = lock(routes).nodes.len();
    for _ in 0..tries {
        let (name, address) = {
            let mut routes = lock(routes);
            let node = routes.nodes[routes.next % tries];
            routes.next += 1;
            node
        };
        if let Ok(server) = TcpStream::connect(address).await {
            lock(routes).given.insert(client, name);
            return Ok(server);
        }
    }
    Err(io::Error::other("no server is there"))
}

fn lock(routes: &Mutex<Routes>) -> MutexGuard<'_, Routes> {
    routes.lock().unwrap_or_else(PoisonError::into_inner)
}
